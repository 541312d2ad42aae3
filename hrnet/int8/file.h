// Weight files of networks with 8-bit integers: safetensors with the names and layouts of PyTorch. For a convolution
// `m` of bytes the file has
//   m.weight        I8 in PyTorch's shape     m.weight_scale  F32 [out]     m.bias  F32 [out], batch norm folded in
// for the first convolution and the heatmap head m.weight and m.bias in F32, and for every tensor of bytes that `m` (or
// a sum that begins with it) makes m.range, F32 [1], the value of the byte 255. The metadata has precision = int8, the
// network's own entries, how the ranges were chosen, and the SHA-256 of the float32 weights.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "hrnet/int8/calibrate.h"
#include "hrnet/model/load.h"

namespace hr {

// Writes a quantised network. `metadata` must have model and joints. Throws Error if the file cannot be written.
void save_int8(const fs::path& path, const Int8Graph& graph, const Int8Parameters& parameters,
               std::map<std::string, std::string> metadata);

// A pose network that computes with 8-bit integers on the CPU. It has no parameters that could be trained or exported.
std::unique_ptr<PoseModel> make_int8_model(std::string name, int joints, bool bgr_input, Int8Graph graph,
                                           const Int8Parameters& parameters);

// Loads a file of save_int8. Throws Error with the reason if the context's device is no CPU, if its precision is not
// float32, if the file is for another network than the one asked for, if an entry is missing or has another shape or
// type, or if a number cannot be used.
std::unique_ptr<PoseModel> load_int8_model(const Context& cx, const WeightFile& file, const std::string& name,
                                           int joints);

}  // namespace hr
