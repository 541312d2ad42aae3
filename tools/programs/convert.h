// The program convert rewrites weight files from one container to the other, and describes them.
#pragma once
#include <string>

#include <CLI/CLI.hpp>

#include "tools/convert/weight_report.h"

namespace hr {

struct ConvertOptions : WeightReportOptions {
  std::string input, output, color;
  bool info = false;
};
void add_convert_options(CLI::App& app, ConvertOptions& options);

// Writes `input`'s state dict to `output`, as .safetensors or .pth according to its ending. Every tensor keeps its
// bits, element type and place in the order; wrapper and optimiser state are left out. Throws Error if `output` is
// `input`. With `info` it prints report() instead.
void convert(const ConvertOptions& options);

}  // namespace hr
