// What is in a weight file, in words.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "hrnet/infer/weight_info.h"
#include "nn/weights.h"

namespace hr {

struct WeightReportOptions {
  std::string model;          // list how the file differs from this network; empty: the one that it is for
  std::optional<int> joints;  // of that network; nullopt: the weights'
  bool all = false;           // every row of long tables
};

// Container, wrapper, model, joints, colour order, parameters, SHA-256 and the tensor table (abridged unless
// options.all). With a model named, or when the guessed one does not fit: everything missing, unexpected or of another
// shape. Shows progress on stderr where the hash takes long.
std::string report(const WeightFile& file, const WeightReportOptions& options);

// Published files end in the first digits of their SHA-256: pose-36af842e.pth, mmpose's pose-c78dce93_20200708.pth.
// The digits of such a name; empty if there are none.
std::string hash_in_name(const fs::path& path);

// "28,536,113"
std::string grouped(int64_t number);
// "Adam moments, ours"; "none".
std::string optimizer_in_words(const WeightFile& file);
// The order of the input's channels: what is asked for, what the file says, or the architecture's; empty: not known.
std::string color_of(const WeightInfo& info, const std::string& asked);
// At most 60 characters of a text.
std::string shortened(const std::string& text);

}  // namespace hr
