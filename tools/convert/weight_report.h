// A description of a weight file as text.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "hrnet/infer/weight_info.h"
#include "nn/weights.h"

namespace hr {

struct WeightReportOptions {
  std::string model;          // the network to compare the file with; if empty, the one that the file seems to be for
  std::optional<int> joints;  // the number of joints of that network; without a value, that of the weights
  bool all = false;           // prints every row of long tables
};

// Describes container, wrapper, model, joints, colour order, parameters, SHA-256 and the tensor table (abridged unless
// options.all). If options.model is set, or if the guessed model does not fit, it lists everything that is missing,
// unexpected or of another shape. Shows progress on stderr if the hash takes long.
std::string report(const WeightFile& file, const WeightReportOptions& options);

// Names of published files end in the first digits of their SHA-256: pose-36af842e.pth, mmpose's
// pose-c78dce93_20200708.pth. Returns the digits of such a name; empty if there are none.
std::string hash_in_name(const fs::path& path);

// Formats a number as "28,536,113".
std::string grouped(int64_t number);
// Describes the optimiser state in a file, for example "Adam moments, ours" or "none".
std::string optimizer_in_words(const WeightFile& file);
// Returns the order of the input's channels, "rgb" or "bgr": the one that was asked for, else that of the file, else
// that of the architecture. Returns an empty text if it is not known.
std::string color_of(const WeightInfo& info, const std::string& asked);
// Returns at most 60 characters of a text.
std::string shortened(const std::string& text);

}  // namespace hr
