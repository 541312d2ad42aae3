// Quantises a detector: chooses a step for each channel of its activations, and rounds weights such that their sums
// keep their mean.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "hrnet/int8/calibrate.h"

namespace hr {

class ChannelRanges {
 public:
  // Adds the numbers y [N, H, W, C] f32 of a value of the graph.
  void add(int value, const Tensor& y);
  // Returns the rounded network. `weights` are those of float32. Throws Error if there are no numbers of a value, or if
  // one is not finite.
  Int8Parameters parameters(const Int8Graph& graph, const Int8Floats& weights, RangeMethod method) const;

 private:
  struct Channel {
    // There may be tens of thousands of channels, so each has fewer bins than a whole tensor.
    RangeHistogram above = RangeHistogram(512);
    float below = 0;  // The size of the smallest number below 0.
    double sum = 0;
  };
  struct Channels {
    std::vector<Channel> each;
    double count = 0;  // Of numbers of each channel.
  };
  const Channels& of(int value) const;
  void choose_factors(const Int8Graph& graph, RangeMethod method, Int8Parameters& p) const;
  std::vector<float> means(int value) const;

  std::map<int, Channels> channels_;
};

}  // namespace hr
