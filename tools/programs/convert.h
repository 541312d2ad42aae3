// Weight files from one container to the other, networks to ONNX, and what is in a file.
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
};
void add_convert_options(CLI::App& app, ConvertOptions& options);

// Writes `input`'s state dict to `output`, .safetensors or .pth by its ending: every tensor with its bits, element type
// and place in the order; no wrapper, no optimiser. An output that ends in .onnx gets the network as a graph, and the
// check's result is printed. Refuses to write over its input. With `info`: prints report().
void convert(const ConvertOptions& options);

}  // namespace hr
