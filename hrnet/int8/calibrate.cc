#include "hrnet/int8/calibrate.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "hrnet/int8/channel_ranges.h"

namespace hr {
namespace {

// Passes the values that are observed on, in the order of the calls.
class RangeTrace final : public OpTrace {
 public:
  using See = std::function<void(int value, const Tensor& y)>;
  RangeTrace(const Int8Graph& graph, See see) : graph_(graph), see_(std::move(see)) {}
  void conv(const TracedConv& c) override {
    if (c.silu) add(c.y);
  }
  void batch_norm(const Tensor&, const BatchNormState&, const Normalised&) override {}
  void fuse(std::span<const FuseTerm>, Act, const Tensor& y) override { add(y); }
  void max_pool(const Tensor&, const MaxPool2d&, const Tensor& y) override {
    if (graph_.channels) add(y);
  }
  void concat(std::span<const ConcatTerm>, const Tensor&) override {}
  void put_pixels(const Tensor&, const Tensor&, const TablePart&) override {}

 private:
  void add(const Tensor& y) {
    check(next_ < graph_.observed.size(), "int8: the network has more results than its graph");
    const int value = graph_.observed[next_++];
    if (value >= 0) see_(value, y);
  }

  const Int8Graph& graph_;
  See see_;
  size_t next_ = 0;
};

std::span<const float> numbers_of(const PoseModel& model, const std::string& name) {
  for (const auto& e : model.parameters().entries()) {
    if (e.name() != name || e.counter != nullptr) continue;
    const Tensor& t = e.parameter != nullptr ? e.parameter->value : e.buffer->value;
    return {t.data<float>(), static_cast<size_t>(t.numel())};
  }
  fail("{}: has no entry {}", model.name(), name);
}

bool has_entry(const PoseModel& model, const std::string& name) {
  const auto& entries = model.parameters().entries();
  return std::any_of(entries.begin(), entries.end(), [&](const auto& e) { return e.name() == name; });
}

// Returns the filter [o, kh, kw, i] and the bias of a node, with its batch norm folded in.
Int8Float folded(const PoseModel& model, const Int8Graph::Node& node) {
  const std::span<const float> filter = numbers_of(model, node.name + ".weight");
  const auto outs = static_cast<size_t>(node.shape.out);
  Int8Float f{{filter.begin(), filter.end()}, std::vector<float>(outs, 0.0F)};
  if (node.norm.empty()) {
    if (!has_entry(model, node.name + ".bias")) return f;
    const std::span<const float> bias = numbers_of(model, node.name + ".bias");
    f.bias.assign(bias.begin(), bias.end());
    return f;
  }
  const auto part = [&](const char* which) { return numbers_of(model, node.norm + which); };
  const auto weight = part(".weight"), bias = part(".bias"), mean = part(".running_mean"), var = part(".running_var");
  const double epsilon = BatchNormState().eps;
  const size_t each = f.filter.size() / outs;
  for (size_t o = 0; o < outs; ++o) {
    const double scale = weight[o] / std::sqrt(var[o] + epsilon);
    for (size_t i = 0; i < each; ++i) f.filter[o * each + i] = static_cast<float>(f.filter[o * each + i] * scale);
    f.bias[o] = static_cast<float>(bias[o] - mean[o] * scale);
  }
  return f;
}

}  // namespace

std::string_view name_of(RangeMethod method) {
  constexpr std::string_view names[] = {"max", "percentile", "mse"};
  return names[static_cast<size_t>(method)];
}

RangeMethod parse_range_method(std::string_view name) {
  for (const RangeMethod m : {RangeMethod::max, RangeMethod::percentile, RangeMethod::mse}) {
    if (name == name_of(m)) return m;
  }
  fail("{}: expected max, percentile or mse", name);
}

void RangeHistogram::add(const float* values, int64_t count) {
  const size_t bins = bins_.size();
  float most = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) {
      ++bad_;
      return;
    }
    most = std::max(most, values[i]);
  }
  largest_ = std::max(largest_, most);
  if (width_ == 0 && most > 0) {
    // Everything before was 0 and is in the first bin.
    width_ = static_cast<double>(most) / static_cast<double>(bins);
  }
  while (most >= width_ * static_cast<double>(bins) && most > 0) {
    for (size_t i = 0; i < bins / 2; ++i) bins_[i] = bins_[2 * i] + bins_[2 * i + 1];
    std::fill(bins_.begin() + static_cast<ptrdiff_t>(bins / 2), bins_.end(), 0);
    width_ *= 2;
  }
  count_ += count;
  const double inverse = width_ > 0 ? 1 / width_ : 0;
  for (int64_t i = 0; i < count; ++i) {
    if (values[i] > 0) ++bins_[std::min(bins - 1, static_cast<size_t>(values[i] * inverse))];
  }
}

float RangeHistogram::range(RangeMethod method, float below) const {
  check(count_ > 0, "int8: there are no values to choose a range by");
  check(bad_ == 0, "int8: activations are not finite, so the weights are damaged or their training has diverged");
  if (largest_ <= 0) return 1;
  if (method == RangeMethod::max) return largest_;
  if (method == RangeMethod::percentile) {
    constexpr double kBeyond = 1e-5;
    const double allowed = kBeyond * static_cast<double>(count_);
    double beyond = 0;
    size_t bin = bins_.size() - 1;
    for (; bin > 0; --bin) {
      beyond += static_cast<double>(bins_[bin]);
      if (beyond > allowed) break;
    }
    return std::min(largest_, static_cast<float>(static_cast<double>(bin + 1) * width_));
  }
  // Zeros have no error. Other values have the error of rounding, a twelfth of the squared step, or that of limiting.
  constexpr int kCandidates = 256;
  double best = -1;
  float chosen = largest_;
  for (int i = kCandidates / 16; i <= kCandidates; ++i) {
    const double range = static_cast<double>(largest_) * i / kCandidates, step = (below + range) / 255;
    double error = 0;
    for (size_t b = 0; b < bins_.size(); ++b) {
      const double value = (static_cast<double>(b) + 0.5) * width_, over = value - range;
      error += static_cast<double>(bins_[b]) * (over > 0 ? over * over : step * step / 12);
    }
    if (best < 0 || error < best) {
      best = error;
      chosen = static_cast<float>(range);
    }
  }
  return chosen;
}

Int8Calibrator::Int8Calibrator(const PoseModel& model)
    : forward_([&model](Context& cx, const Tensor& images) { model.forward(cx, images); }), graph_(int8_graph(model)) {
  for (const Int8Graph::Node& node : graph_.nodes) {
    if (node.kind != Int8Graph::Kind::sum && node.kind != Int8Graph::Kind::pool)
      weights_[node.name] = folded(model, node);
  }
}

Int8Calibrator::Int8Calibrator(const Yolox& model)
    : forward_([&model](Context& cx, const Tensor& images) { model.forward(cx, images); }),
      graph_(int8_graph(model, weights_)),
      channels_(std::make_unique<ChannelRanges>()) {}

Int8Calibrator::~Int8Calibrator() = default;

void Int8Calibrator::add(const Tensor& images) {
  RangeTrace trace(graph_, [&](int value, const Tensor& y) {
    if (channels_) {
      channels_->add(value, y);
    } else {
      distributions_[graph_.values[static_cast<size_t>(value)].range].add(y.data<float>(), y.numel());
    }
  });
  Context cx;
  cx.trace = &trace;
  forward_(cx, images);
}

Int8Parameters Int8Calibrator::parameters(RangeMethod method) const {
  if (channels_) return channels_->parameters(graph_, weights_, method);
  Int8Parameters p;
  for (const Int8Graph::Node& node : graph_.nodes) {
    const auto found = weights_.find(node.name);
    if (node.kind == Int8Graph::Kind::conv) {
      p.convs[node.name] = quantise_weights(found->second.filter, found->second.bias);
    } else if (node.kind != Int8Graph::Kind::sum && found != weights_.end()) {
      p.floats_of[node.name] = found->second;
    }
  }
  check(!distributions_.empty(), "int8: there are no values to choose a range by");
  for (const auto& [name, numbers] : distributions_) p.ranges[name] = {0, numbers.range(method)};
  return p;
}

}  // namespace hr
