// Records the graph of a YOLOX. Its tensors of bytes follow a SiLU, so they may be negative. The inputs and outputs of
// a concatenation or a pooling share one range, so that these only copy bytes; their channels have factors of their
// own.
#include <algorithm>
#include <map>
#include <numeric>

#include "core/error.h"
#include "hrnet/int8/graph.h"

namespace hr {
namespace {

using Kind = Int8Graph::Kind;
using Node = Int8Graph::Node;

// Records the ops, and the weights of convolutions, into which batch norm is folded already.
class WeightTrace final : public OpTrace {
 public:
  NetworkTrace ops;
  std::map<uint64_t, Int8Float> weights;  // The key is the id of a filter.

  void conv(const TracedConv& c) override {
    ops.conv(c);
    Int8Float& f = weights[c.filter.id()];
    const float* from = c.filter.data<float>();
    f.filter.assign(from, from + c.filter.numel());
    if (c.depthwise) {
      // [kernel, kernel, channels] becomes [channels, kernel, kernel].
      const int64_t channels = c.filter.dim(2), taps = c.filter.numel() / channels;
      for (int64_t i = 0; i < channels; ++i) {
        for (int64_t t = 0; t < taps; ++t) f.filter[static_cast<size_t>(i * taps + t)] = from[t * channels + i];
      }
    }
    f.bias.assign(static_cast<size_t>(c.y.dim(3)), 0.0F);
    if (c.bias != nullptr) std::copy_n(c.bias->data<float>(), f.bias.size(), f.bias.begin());
  }
  void batch_norm(const Tensor& x, const BatchNormState& state, const Normalised& result) override {
    ops.batch_norm(x, state, result);
  }
  void fuse(std::span<const FuseTerm> terms, Act act, const Tensor& y) override { ops.fuse(terms, act, y); }
  void max_pool(const Tensor& x, const MaxPool2d& options, const Tensor& y) override { ops.max_pool(x, options, y); }
  void concat(std::span<const ConcatTerm> terms, const Tensor& y) override { ops.concat(terms, y); }
  void put_pixels(const Tensor& x, const Tensor& table, const TablePart& part) override {
    ops.put_pixels(x, table, part);
  }
};

class Builder {
 public:
  Builder(const Yolox& model, const WeightTrace& trace, uint64_t input, Int8Floats& weights)
      : trace_(trace), input_(input), weights_(weights) {
    for (Yolox::Filter& f : model.filters()) modules_[f.id] = std::move(f.modules);
  }

  Int8Graph build() {
    graph_.channels = true;
    for (const TracedOp& op : trace_.ops.ops()) {
      if (const auto* conv = std::get_if<TracedOps::Conv>(&op)) {
        auto [first, added] = only_depthwise_.try_emplace(conv->x, conv->depthwise);
        if (!conv->depthwise) first->second = false;
      }
      if (const auto* conv = std::get_if<TracedOps::Conv>(&op); conv != nullptr && !conv->silu)
        head_inputs_[conv->x] = true;
      if (const auto* pixels = std::get_if<TracedOps::Pixels>(&op)) rows_.push_back(pixels->part.first_row);
    }
    std::sort(rows_.begin(), rows_.end());
    rows_.erase(std::unique(rows_.begin(), rows_.end()), rows_.end());
    for (const TracedOp& op : trace_.ops.ops()) std::visit([&](const auto& traced) { add(traced); }, op);
    name_ranges();
    set_levels(graph_);
    return std::move(graph_);
  }

 private:
  int value(uint64_t id) const {
    const auto found = values_.find(id);
    check(found != values_.end(), "int8: the network uses a value that was made by an op that is not supported");
    return found->second;
  }

  int new_value(uint64_t id, int64_t channels, bool bytes) {
    graph_.values.push_back({channels, bytes, ""});
    same_.push_back(static_cast<int>(same_.size()));
    makers_.emplace_back();
    return values_[id] = static_cast<int>(graph_.values.size()) - 1;
  }

  // Values of one class share their range.
  int class_of(int v) const {
    while (same_[static_cast<size_t>(v)] != v) v = same_[static_cast<size_t>(v)];
    return v;
  }
  void share(int a, int b) {
    same_[static_cast<size_t>(std::max(class_of(a), class_of(b)))] = std::min(class_of(a), class_of(b));
  }

  void name_ranges() {
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      if (graph_.values[v].bytes) graph_.values[v].range = makers_[static_cast<size_t>(class_of(static_cast<int>(v)))];
    }
  }

  const std::vector<std::string>& modules(uint64_t filter) const {
    const auto found = modules_.find(filter);
    check(found != modules_.end(), "int8: the network uses a filter that is no parameter");
    return found->second;
  }

  void add(const TracedOps::Conv& op) {
    const std::vector<std::string>& names = modules(op.filter);
    if (!op.silu) {
      heads_[op.y] = &op;  // Its nodes are made when its place in the table is known.
      return;
    }
    check(
        names.size() == 1 && !op.transposed && !op.relu && op.kernel_h == op.kernel_w && (!op.depthwise || op.add == 0),
        "int8: {}: this convolution is not supported", names[0]);
    Node node{.kind = op.x == input_ ? Kind::stem : op.depthwise ? Kind::depthwise : Kind::conv, .name = names[0]};
    node.shape = {op.in, op.out, static_cast<int>(op.kernel_h), op.stride, op.pad, false};
    node.act = Int8Graph::Act::silu;
    if (op.x != input_) node.x = value(op.x);
    if (op.add != 0) node.add = value(op.add);
    const bool head = head_inputs_.contains(op.y);
    check(!head || node.kind == Kind::conv, "int8: {}: this convolution before a head is not supported", names[0]);
    // The first depthwise convolution is the most sensitive layer of its network to the rounding of its input, and
    // floats cost little there (docs/measured/int8.md).
    const auto reader = only_depthwise_.find(op.y);
    const bool bytes = !head && (node.kind != Kind::stem || reader == only_depthwise_.end() || !reader->second);
    node.y = new_value(op.y, op.out, bytes);
    makers_.back() = node.name;
    graph_.observed.push_back(bytes ? node.y : -1);
    weights_[node.name] = trace_.weights.at(op.filter);
    graph_.nodes.push_back(std::move(node));
  }

  void add(const TracedOps::Pool& op) {
    Node node{.kind = Kind::pool, .x = value(op.x), .pool = op.options};
    node.y = new_value(op.y, graph_.values[static_cast<size_t>(node.x)].channels, true);
    share(node.x, node.y);
    graph_.observed.push_back(node.y);
    graph_.nodes.push_back(std::move(node));
  }

  void add(const TracedOps::Concat& op) {
    Node node{.kind = Kind::concat};
    int64_t channels = 0;
    for (const TracedOps::Term& t : op.terms) {
      node.terms.push_back({value(t.x), t.up});
      channels += graph_.values[static_cast<size_t>(node.terms.back().value)].channels;
    }
    node.y = new_value(op.y, channels, true);
    for (const Int8Graph::Term& t : node.terms) share(t.value, node.y);
    graph_.nodes.push_back(std::move(node));
  }

  // Makes one head of each module of a convolution that joins several.
  void add(const TracedOps::Pixels& op) {
    const auto found = heads_.find(op.x);
    check(found != heads_.end(), "int8: a part of the table is no result of a convolution");
    const TracedOps::Conv& conv = *found->second;
    const Int8Float& all = trace_.weights.at(conv.filter);
    const std::vector<std::string>& names = modules(conv.filter);
    // A joined convolution has the columns that are copied in its first module.
    const bool joined = names.size() == 2;
    check(names.size() == 1 || (joined && op.part.plain > 0), "int8: {}: this head is not supported", names[0]);
    const auto each = static_cast<int64_t>(all.filter.size()) / conv.out;
    int64_t first = 0;
    for (size_t i = 0; i < names.size(); ++i) {
      const int64_t outs = !joined ? conv.out : i == 0 ? op.part.plain : conv.out - op.part.plain;
      Node node{.kind = Kind::head, .name = names[i]};
      node.shape = {conv.in, outs, static_cast<int>(conv.kernel_h), conv.stride, conv.pad, false};
      node.x = value(conv.x);
      node.column = static_cast<int>(op.part.first_column + first);
      node.map = static_cast<int>(std::lower_bound(rows_.begin(), rows_.end(), op.part.first_row) - rows_.begin());
      node.sigmoid = first >= op.part.plain;
      graph_.columns = std::max(graph_.columns, node.column + outs);
      node.y = new_value(0, outs, false);
      weights_[node.name] = {{all.filter.begin() + first * each, all.filter.begin() + (first + outs) * each},
                             {all.bias.begin() + first, all.bias.begin() + first + outs}};
      first += outs;
      graph_.nodes.push_back(std::move(node));
    }
  }

  void add(const TracedOps::Norm&) { fail("int8: batch norm in a detector is not supported"); }
  void add(const TracedOps::Fuse&) { fail("int8: a sum in a detector is not supported"); }

  const WeightTrace& trace_;
  uint64_t input_;
  Int8Floats& weights_;
  std::map<uint64_t, std::vector<std::string>> modules_;  // The key is the id of a filter.
  std::map<uint64_t, const TracedOps::Conv*> heads_;      // The key is the id of the result.
  std::map<uint64_t, bool> head_inputs_;
  std::map<uint64_t, bool> only_depthwise_;  // Of a tensor that convolutions read: whether all of them are depthwise.
  std::vector<int64_t> rows_;                // The first rows of the maps of the table.
  std::map<uint64_t, int> values_;
  std::vector<int> same_;            // By value: another value of the same class, or itself.
  std::vector<std::string> makers_;  // By value: the module that makes it; empty if it is no convolution.
  Int8Graph graph_;
};

}  // namespace

Int8Graph int8_graph(const Yolox& model, Int8Floats& weights) {
  // The size does not matter for the graph; at this one, no two maps have the same number of pixels.
  constexpr int64_t kSide = 64;
  WeightTrace trace;
  Context cx;
  cx.trace = &trace;
  const Tensor images = cx.zeros({1, kSide, kSide, 3}, DType::f32);
  const Tensor table = model.forward(cx, images);
  return Builder(model, trace, images.id(), weights).build();
}

}  // namespace hr
