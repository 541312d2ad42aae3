// Weight files from one container to the other, and what is in one.
#pragma once
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "nn/weights.h"

namespace hr {

struct ConvertOptions {
  std::string input, output, model, color;
  std::optional<int> joints;
  bool info = false, all = false;
};
void add_convert_options(CLI::App& app, ConvertOptions& options);

// Writes `input`'s state dict to `output`, .safetensors or .pth by its ending: every tensor with its bits, element type
// and place in the order; no wrapper, no optimiser. Refuses to write over its input. With `info`: prints report().
void convert(const ConvertOptions& options);

// Container, wrapper, model, joints, colour order, parameters, SHA-256 and the tensor table (abridged unless
// options.all). With a model named, or when the guessed one does not fit: everything missing, unexpected or of another
// shape.
std::string report(const WeightFile& file, const ConvertOptions& options);

// Published files end in the first digits of their SHA-256: pose-36af842e.pth, mmpose's pose-c78dce93_20200708.pth.
// The digits of such a name; empty if there are none.
std::string hash_in_name(const fs::path& path);

}  // namespace hr
