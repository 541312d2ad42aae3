// Compares an exported graph with the network of 8-bit integers that it was made from.
#pragma once
#include <string>
#include <vector>

#include "hrnet/export/onnx.h"
#include "hrnet/export/onnx_run.h"
#include "hrnet/int8/network.h"

namespace hr {

// Runs the graph as run_onnx() does, beside the network. Each tensor of bytes is compared with the network's own and
// then replaced by it. Without that, one number that is rounded to the neighbouring byte, because float32 sums have
// another order, changes others in all later layers, and after some dozens of layers the results of two correct
// computations differ by as much as those of bytes and of float32. Throws Error if a tensor is missing.
OnnxArrays run_onnx_beside(Context& cx, const OnnxModel& model, Int8Network& network, const Tensor& images,
                           const OnnxArrays& inputs, const std::vector<std::string>& wanted, Int8Check& check);

}  // namespace hr
