// The program pack makes, describes and verifies packs.
#pragma once
#include <array>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "tools/cli/data_options.h"

namespace hr {

struct PackOptions : DataOptions {
  std::string output, keypoints_path, verify, info;
  std::vector<std::string> splits{"train", "val"};
  std::array<int, 2> fixed_size{256, 192};
  int threads = 0;
};
void add_pack_options(CLI::App& app, PackOptions& options);
void pack(const PackOptions& options);

}  // namespace hr
