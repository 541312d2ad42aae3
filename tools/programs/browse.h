// Contact sheets of what the network sees, and a summary of a dataset.
#pragma once
#include <array>
#include <string>

#include <CLI/CLI.hpp>

#include "data/dataset.h"
#include "tools/programs/datasets.h"

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

// People, pictures, sizes, joints labelled and visible, what was dropped and why: plain text of several lines.
std::string summarize(const PoseDataset& dataset);

}  // namespace hr
