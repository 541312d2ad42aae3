// Quantises a network: collects the ranges of its activations from pictures, and rounds its weights.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hrnet/int8/parameters.h"

namespace hr {

class ChannelRanges;

// Selects how the range [0, r] of a tensor is computed from the values that it had on the calibration pictures:
//   max         r is the largest value.
//   percentile  All but a hundred-thousandth of the values are at most r.
//   mse         r has the smallest mean squared error of rounding and limiting.
enum class RangeMethod { max, percentile, mse };
std::string_view name_of(RangeMethod method);
// Throws Error that names the methods.
RangeMethod parse_range_method(std::string_view name);

// The distribution of numbers that are not negative, in bins of equal width. When a larger number comes, the bins are
// merged in pairs until it fits.
class RangeHistogram {
 public:
  explicit RangeHistogram(int bins = 4096) : bins_(static_cast<size_t>(bins), 0) {}  // An even number.
  void add(const float* values, int64_t count);
  // Returns the range by the method. It is 1 if all values were 0. The step of rounding is (below + range) / 255, where
  // `below` is the size of negative numbers that are kept apart. Throws Error if there were no values, or if one was
  // not finite.
  float range(RangeMethod method, float below = 0) const;
  float largest() const { return largest_; }

 private:
  std::vector<int64_t> bins_;
  double width_ = 0;  // Of a bin.
  float largest_ = 0;
  int64_t count_ = 0, bad_ = 0;
};

// Collects the ranges of a model's activations over batches of images.
class Int8Calibrator {
 public:
  // The model must evaluate in float32 on the CPU and outlive the calibrator. Throws Error if its network cannot be
  // computed with 8-bit integers.
  explicit Int8Calibrator(const PoseModel& model);
  explicit Int8Calibrator(const Yolox& model);
  ~Int8Calibrator();

  // images [N, H, W, 3] f32, as the network expects them.
  void add(const Tensor& images);
  // Returns the rounded network. Throws Error if no images were added or if a number is not finite.
  Int8Parameters parameters(RangeMethod method) const;
  const Int8Graph& graph() const { return graph_; }

 private:
  std::function<void(Context& cx, const Tensor& images)> forward_;
  Int8Floats weights_;  // Before the graph, whose recording fills it.
  Int8Graph graph_;
  std::map<std::string, RangeHistogram> distributions_;  // Of a pose network, by the name of the range.
  std::unique_ptr<ChannelRanges> channels_;              // Of a detector.
};

}  // namespace hr
