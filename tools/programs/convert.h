// Weight files from one container to the other, and what is in one.
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

// Writes `input`'s state dict to `output`, .safetensors or .pth by its ending: every tensor with its bits, element type
// and place in the order; no wrapper, no optimiser. Refuses to write over its input. With `info`: prints report().
void convert(const ConvertOptions& options);

}  // namespace hr
