// The program convert rewrites weight files from one container to the other, exports networks to ONNX, and describes
// weight files.
#pragma once
#include <array>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "tools/convert/weight_report.h"

namespace hr {

struct ConvertOptions : WeightReportOptions {
  std::string input, output, color;
  bool info = false;
  // For an output that ends in .onnx (hrnet/export/onnx.h).
  bool keep_bn = false, decode = false, half = false;
  std::optional<std::array<int, 2>> fixed_size;
  std::string keypoints_path, codec;
  // For 8-bit weights (hrnet/int8/quantise.h).
  std::string calibrate, ranges;
  int calibrate_people = 256;
};
void add_convert_options(CLI::App& app, ConvertOptions& options);

// Writes `input`'s state dict to `output`, as .safetensors or .pth according to its ending. Every tensor keeps its
// bits, element type and place in the order; wrapper and optimiser state are left out. Throws Error if `output` is
// `input`. An output that ends in .onnx gets the network as a graph, and the result of its check is printed. With
// `calibrate` a pose network is quantised (hrnet/int8/quantise.h). With `info` it prints report() instead.
void convert(const ConvertOptions& options);

}  // namespace hr
