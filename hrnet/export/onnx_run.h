// A plain evaluator of the ONNX graphs that this folder writes, with which an exported file is checked before it is
// called done. It knows the ops that are written and no others, and makes no claim to speed.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/io/onnx.h"

namespace hr {

// Dense, row-major. Numbers of every type are held as float or int64_t: bool as 0 and 1.
struct OnnxArray {
  DType dtype = DType::f32;  // f32, i64 or boolean
  Shape shape;
  std::vector<float> reals;       // Of f32.
  std::vector<int64_t> integers;  // Of the others.
};
using OnnxArrays = std::map<std::string, OnnxArray>;

// Runs all nodes on the graph's inputs and returns the values named in `wanted`. Convolutions and pooling run as ops of
// cx, which must be on the CPU. Throws Error that names the node: an op or attribute that is not known, a shape that
// does not fit.
OnnxArrays run_onnx(Context& cx, const OnnxModel& model, const OnnxArrays& inputs,
                    const std::vector<std::string>& wanted);

}  // namespace hr
