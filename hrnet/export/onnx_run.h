// A plain evaluator of ONNX graphs. The export runs a file with it and compares the results before the file gets its
// final name. It supports only the ops that this folder writes, and it is not optimised for speed.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/io/onnx.h"

namespace hr {

// An array is dense and row-major. Numbers of every type are held as float or int64_t; bool is held as 0 and 1.
struct OnnxArray {
  DType dtype = DType::f32;  // The type is f32, i64 or boolean.
  Shape shape;
  std::vector<float> reals;       // It holds the numbers if dtype is f32.
  std::vector<int64_t> integers;  // It holds the numbers of the other types.
};
using OnnxArrays = std::map<std::string, OnnxArray>;

// Runs all nodes on the graph's inputs and returns the values named in `wanted`. Convolutions and pooling run as ops of
// cx, which must be on the CPU. Throws Error, with the node's name, if an op or attribute is not supported or a shape
// does not fit.
// `visit` may look at the result of each node and change it.
using OnnxVisit = std::function<void(const OnnxNode& node, OnnxArray& result)>;
OnnxArrays run_onnx(Context& cx, const OnnxModel& model, const OnnxArrays& inputs,
                    const std::vector<std::string>& wanted, const OnnxVisit& visit = {});

}  // namespace hr
