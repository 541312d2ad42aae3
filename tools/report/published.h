// A small table of published accuracies of this library's networks, each with its source.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace hr {

struct PublishedResult {
  std::string network;  // The name that the programs use, such as hrnet_w32.
  int height = 0, width = 0;
  std::string set;      // "COCO val2017"
  std::string boxes;    // "detected" or "ground truth"
  std::string measure;  // "AP" or "PCKh@0.5"
  double percent = 0;
  std::string source;
};

// Returns the published results of a network for a measure ("AP" or "PCKh@0.5"), those of the given input size first.
std::vector<PublishedResult> published_results(std::string_view network, std::string_view measure, int height,
                                               int width);

}  // namespace hr
