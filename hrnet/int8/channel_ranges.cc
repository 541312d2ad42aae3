#include "hrnet/int8/channel_ranges.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace hr {
namespace {

using Kind = Int8Graph::Kind;
using Node = Int8Graph::Node;

// A channel whose numbers are smaller than this part of the largest channel's is rounded as if they were larger.
constexpr float kSmallestFactor = 1.0F / 4096;

// The sizes of the largest number of a channel and of the smallest one below 0.
struct Extent {
  float above = 0, below = 0;
  // The least step by which the bytes reach both, if `zero` stands for 0.
  float step(int zero) const {
    const auto z = static_cast<float>(zero);
    return std::max(above / (255 - z), below > 0 ? below / z : 0.0F);
  }
};

// Chooses the byte that stands for 0 in all channels of a range: one for all of them, because it fills the borders, and
// because concatenation copies bytes. Results of a SiLU are at least -0.278, so channels of small numbers need room
// below 0 which those of large numbers do not. The mean square of the steps, each relative to its channel, is least.
int choose_zero(const std::vector<Extent>& channels) {
  double best = -1;
  int chosen = 0;
  const bool negative = std::ranges::any_of(channels, [](const Extent& e) { return e.below > 0; });
  for (int zero = negative ? 1 : 0; zero < (negative ? 255 : 1); ++zero) {
    double sum = 0;
    for (const Extent& e : channels) {
      const double relative = e.above + e.below > 0 ? e.step(zero) / (e.above + e.below) : 0;
      sum += relative * relative;
    }
    if (best < 0 || sum < best) {
      best = sum;
      chosen = zero;
    }
  }
  return chosen;
}

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

// The values of a range share its zero and its scale, which is the largest step of their channels.
void ChannelRanges::choose_factors(const Int8Graph& graph, RangeMethod method, Int8Parameters& p) const {
  std::map<std::string, std::vector<Extent>> channels;  // By range, those of its nodes one after the other.
  std::map<std::string, std::vector<const Node*>> nodes;
  for (const Node& node : graph.nodes) {
    const Int8Graph::Value& y = graph.values[static_cast<size_t>(node.y)];
    if (!y.bytes || node.kind == Kind::pool || node.kind == Kind::concat) continue;
    nodes[y.range].push_back(&node);
    for (const Channel& c : of(node.y).each) {
      const float above = c.above.range(method, c.below);
      channels[y.range].push_back({c.above.largest() > 0 ? above : 0.0F, c.below});
    }
  }
  for (const auto& [range, all] : channels) {
    const int zero = choose_zero(all);
    std::vector<float> steps;
    for (const Extent& e : all) steps.push_back(e.step(zero));
    const float most = *std::ranges::max_element(steps), scale = most > 0 ? most : 1.0F / 255;
    p.ranges[range] = {-static_cast<float>(zero) * scale, static_cast<float>(255 - zero) * scale};
    auto next = steps.begin();
    for (const Node* node : nodes.at(range)) {
      for (int64_t c = 0; c < node->shape.out; ++c, ++next)
        p.factors_of[node->name].push_back(*next > 0 ? std::max(*next / scale, kSmallestFactor) : 1.0F);
    }
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
