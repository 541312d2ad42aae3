// The program browse draws contact sheets of the crops that a network sees, and writes a summary of the dataset.
#pragma once
#include <array>
#include <string>

#include <CLI/CLI.hpp>

#include "tools/browse/summary.h"
#include "tools/cli/data_options.h"

namespace hr {

struct BrowseOptions : DataOptions {
  std::string output = "browse", split = "train", keypoints_path;
  std::array<int, 2> fixed_size{256, 192};
  int people = 24, draws = 7, threads = 0;
  double sigma = 0;
};
void add_browse_options(CLI::App& app, BrowseOptions& options);
// Writes crops.png, targets.png, draws.png and summary.txt; prints the summary.
void browse(const BrowseOptions& options);

}  // namespace hr
