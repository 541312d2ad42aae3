// The ops of exported graphs that only move numbers or treat them one by one, as plain loops (hrnet/export/onnx_run.h).
#pragma once
#include "hrnet/export/onnx_run.h"

namespace hr {

// All throw Error without the node's name if shapes or types do not fit.

// "Relu", "Sigmoid", "Exp", "Log", "Sign": of f32.
OnnxArray onnx_unary(const std::string& op, const OnnxArray& x);
// "Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Greater", "Less", "And"; shapes are broadcast as NumPy does it.
// Whole numbers are divided as C++ divides them, and Mod has the sign of the divisor.
OnnxArray onnx_binary(const std::string& op, const OnnxArray& a, const OnnxArray& b);
OnnxArray onnx_where(const OnnxArray& condition, const OnnxArray& a, const OnnxArray& b);

OnnxArray onnx_cast(const OnnxArray& x, int64_t type);  // By ONNX's number of the element type.
OnnxArray onnx_transpose(const OnnxArray& x, const std::vector<int64_t>& permutation);
// 0 keeps the dimension of x, -1 (once) takes what is left.
OnnxArray onnx_reshape(OnnxArray x, const std::vector<int64_t>& shape);
OnnxArray onnx_concat(const std::vector<const OnnxArray*>& parts, int64_t axis);
struct OnnxSlice {
  int64_t axis = 0, start = 0, end = 0, step = 1;  // Not negative; an end beyond the dimension is the dimension.
};
OnnxArray onnx_slice(const OnnxArray& x, const OnnxSlice& slice);
OnnxArray onnx_gather_elements(const OnnxArray& x, const OnnxArray& indices, int64_t axis);
// Along the last dimension, which is kept with the size 1 or removed; of equal maxima the first.
OnnxArray onnx_max(const OnnxArray& x, bool keep);
OnnxArray onnx_argmax(const OnnxArray& x, bool keep);
// [N, C, H, W] -> [N, C, times H, times W]; nearest neighbour: pixel (y, x) is (y / times, x / times).
OnnxArray onnx_repeat(const OnnxArray& x, int64_t times);

}  // namespace hr
