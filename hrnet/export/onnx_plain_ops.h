// These are the elementwise and data-moving ops of exported graphs, written as plain loops (hrnet/export/onnx_run.h).
#pragma once
#include "hrnet/export/onnx_run.h"

namespace hr {

// All of these functions throw Error if shapes or types do not fit; the caller adds the node's name to the message. All
// of them are thread-safe.

// Computes "Relu", "Sigmoid", "Exp", "Log" or "Sign" of an f32 array.
OnnxArray onnx_unary(const std::string& op, const OnnxArray& x);
// Computes "Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Greater", "Less" or "And"; shapes are broadcast as in
// NumPy. Integers are divided as in C++ (towards zero), and the result of Mod has the sign of the divisor.
OnnxArray onnx_binary(const std::string& op, const OnnxArray& a, const OnnxArray& b);
OnnxArray onnx_where(const OnnxArray& condition, const OnnxArray& a, const OnnxArray& b);

// Rounds to a whole number of steps, to the even one in the middle, and limits it to the bytes 0 to 255. The step and
// the zero are single numbers.
OnnxArray onnx_quantize(const OnnxArray& x, const OnnxArray& scale, const OnnxArray& zero);
// (x - zero) * scale, with one step for all numbers or one for each index along `axis`. Without `zero` it is 0.
OnnxArray onnx_dequantize(const OnnxArray& x, const OnnxArray& scale, const OnnxArray* zero, int64_t axis);

OnnxArray onnx_cast(const OnnxArray& x, int64_t type);  // `type` is ONNX's number of the element type.
OnnxArray onnx_transpose(const OnnxArray& x, const std::vector<int64_t>& permutation);
// A 0 in `shape` keeps the dimension of x; -1 may occur once and takes the remaining elements.
OnnxArray onnx_reshape(OnnxArray x, const std::vector<int64_t>& shape);
OnnxArray onnx_concat(const std::vector<const OnnxArray*>& parts, int64_t axis);
struct OnnxSlice {
  // The numbers are not negative; an end beyond the dimension is cut to the dimension.
  int64_t axis = 0, start = 0, end = 0, step = 1;
};
OnnxArray onnx_slice(const OnnxArray& x, const OnnxSlice& slice);
OnnxArray onnx_gather_elements(const OnnxArray& x, const OnnxArray& indices, int64_t axis);
// Both work along the last dimension, which is removed, or kept with size 1 if `keep` is set. onnx_argmax returns the
// first of equal maxima.
OnnxArray onnx_max(const OnnxArray& x, bool keep);
OnnxArray onnx_argmax(const OnnxArray& x, bool keep);
// Repeats pixels: [N, C, H, W] becomes [N, C, times H, times W] by nearest neighbour, so pixel (y, x) is (y / times, x
// / times) of x.
OnnxArray onnx_repeat(const OnnxArray& x, int64_t times);

}  // namespace hr
