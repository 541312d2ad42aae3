#include "hrnet/int8/channel_ranges.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace hr {
namespace {

using Kind = Int8Graph::Kind;
using Node = Int8Graph::Node;

// The byte that stands for 0 in all tensors: one for all, so that channels of several tensors can be copied beside each
// other and borders have one number. Results of a SiLU are at least -0.278, so small channels need room below 0.
constexpr int kZero = 32;
// A channel whose numbers are smaller than this part of the largest channel's is rounded as if they were larger.
constexpr float kSmallestFactor = 1.0F / 4096;

// Rounds the weights of a convolution. `factors` and `means` are those of the input's channels. The errors of the
// weights of one output add up to a sum that hardly varies from pixel to pixel, because the inputs have a mean. The
// bias takes that sum away.
Int8Weights rounded_weights(const Node& node, const Int8Float& from, const std::vector<float>& factors,
                            const std::vector<float>& means) {
  const auto in = static_cast<size_t>(node.shape.in);
  std::vector<float> filter = from.filter;
  for (size_t i = 0; i < filter.size(); ++i) filter[i] *= factors[i % in];
  Int8Weights w = quantise_weights(filter, from.bias);
  const size_t each = filter.size() / w.bias.size();
  for (size_t o = 0; o < w.bias.size(); ++o) {
    double error = 0;
    for (size_t i = 0; i < each; ++i) {
      const size_t at = o * each + i, c = i % in;
      error += (static_cast<double>(w.values[at]) * w.scale[o] - filter[at]) * means[c] / factors[c];
    }
    w.bias[o] = static_cast<float>(w.bias[o] - error);
  }
  return w;
}

}  // namespace

void ChannelRanges::add(int value, const Tensor& y) {
  const int64_t channels = y.dim(3), pixels = y.numel() / channels;
  Channels& to = channels_[value];
  to.each.resize(static_cast<size_t>(channels));
  to.count += static_cast<double>(pixels);
  std::vector<float> numbers(static_cast<size_t>(pixels));
  for (int64_t c = 0; c < channels; ++c) {
    Channel& channel = to.each[static_cast<size_t>(c)];
    const float* from = y.data<float>() + c;
    for (size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = from[static_cast<int64_t>(i) * channels];
      channel.below = std::max(channel.below, -numbers[i]);
      channel.sum += numbers[i];
    }
    channel.above.add(numbers.data(), pixels);
  }
}

const ChannelRanges::Channels& ChannelRanges::of(int value) const {
  const auto found = channels_.find(value);
  check(found != channels_.end(), "int8: there are no values to choose a range by");
  return found->second;
}

std::vector<float> ChannelRanges::means(int value) const {
  const Channels& from = of(value);
  std::vector<float> means;
  for (const Channel& c : from.each) means.push_back(static_cast<float>(c.sum / from.count));
  return means;
}

// Returns the least step of each channel by which the bytes reach its range; 0 if all of its numbers are 0.
std::vector<float> ChannelRanges::steps(int value, RangeMethod method) const {
  std::vector<float> steps;
  for (const Channel& c : of(value).each) {
    const float range = c.above.range(method, c.below), above = c.above.largest() > 0 ? range : 0.0F;
    steps.push_back(std::max(above / (255 - kZero), c.below / kZero));
  }
  return steps;
}

// The values of a range share its scale, which is the largest step of their channels.
void ChannelRanges::choose_factors(const Int8Graph& graph, RangeMethod method, Int8Parameters& p) const {
  std::map<std::string, float> largest;
  for (const Node& node : graph.nodes) {
    const Int8Graph::Value& y = graph.values[static_cast<size_t>(node.y)];
    if (!y.bytes || node.kind == Kind::pool || node.kind == Kind::concat) continue;
    std::vector<float>& own = p.factors_of[node.name] = steps(node.y, method);
    float& most = largest[y.range];
    most = std::max(most, *std::max_element(own.begin(), own.end()));
  }
  for (const Node& node : graph.nodes) {
    const auto own = p.factors_of.find(node.name);
    if (own == p.factors_of.end()) continue;
    const float most = largest.at(graph.values[static_cast<size_t>(node.y)].range);
    for (float& f : own->second) f = f > 0 ? std::max(f / most, kSmallestFactor) : 1.0F;
  }
  for (const auto& [name, most] : largest) {
    const float step = most > 0 ? most : 1.0F / 255;
    p.ranges[name] = {-kZero * step, (255 - kZero) * step};
  }
}

Int8Parameters ChannelRanges::parameters(const Int8Graph& graph, const Int8Floats& weights, RangeMethod method) const {
  check(!channels_.empty(), "int8: there are no values to choose a range by");
  Int8Parameters p;
  choose_factors(graph, method, p);
  const std::vector<std::vector<float>> factors = int8_factors(graph, p),
                                        mean = by_channels(graph, [&](const Node&node) {
                                          const bool bytes = graph.values[static_cast<size_t>(node.y)].bytes;
                                          return bytes ? means(node.y) : std::vector<float>();
                                        });
  for (const Node& node : graph.nodes) {
    const auto found = weights.find(node.name);
    if (found == weights.end()) continue;
    const auto x = static_cast<size_t>(std::max(0, node.x));
    if (node.kind == Kind::conv) {
      p.convs[node.name] = rounded_weights(node, found->second, factors[x], mean[x]);
      continue;
    }
    Int8Float& own = p.floats_of[node.name] = found->second;
    if (node.kind != Kind::depthwise || factors[x].empty()) continue;
    const size_t taps = own.filter.size() / factors[x].size();
    for (size_t i = 0; i < own.filter.size(); ++i) own.filter[i] *= factors[x][i / taps];
  }
  return p;
}

}  // namespace hr
