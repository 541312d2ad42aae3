#include "hrnet/int8/graph.h"

#include <algorithm>
#include <map>

#include "core/error.h"

namespace hr {
namespace {

using Kind = Int8Graph::Kind;
using Node = Int8Graph::Node;

// Turns the list of traced ops into nodes.
class Builder {
 public:
  Builder(const PoseModel& model, uint64_t input, uint64_t output) : input_(input), output_(output) {
    constexpr std::string_view ending = ".weight";
    for (const Parameter& p : model.parameters().parameters()) {
      if (p.name.ends_with(ending)) modules_[p.value.id()] = p.name.substr(0, p.name.size() - ending.size());
    }
  }

  Int8Graph build(const std::vector<TracedOp>& ops) {
    for (const TracedOp& op : ops) {
      if (const auto* norm = std::get_if<TracedOps::Norm>(&op)) norms_[norm->scale] = {norm->x, module(norm->weight)};
      if (const auto* conv = std::get_if<TracedOps::Conv>(&op)) {
        convs_[conv->y] = conv;
        if (conv->y == output_) head_input_ = conv->x;
      }
    }
    for (const TracedOp& op : ops) std::visit([&](const auto& traced) { add(traced); }, op);
    check(has_head_, "int8: the network does not end in a convolution");
    set_levels(graph_);
    return std::move(graph_);
  }

 private:
  struct Norm {
    uint64_t x = 0;
    std::string name;
  };

  const std::string& module(uint64_t id) const {
    const auto found = modules_.find(id);
    check(found != modules_.end(), "int8: the network uses a filter that is no parameter");
    return found->second;
  }

  int value(uint64_t id) const {
    const auto found = values_.find(id);
    check(found != values_.end(), "int8: the network uses a value that was made by an op that is not supported");
    return found->second;
  }

  int new_value(uint64_t id, int64_t channels, bool bytes, const std::string& range) {
    graph_.values.push_back({channels, bytes, range});
    const int index = static_cast<int>(graph_.values.size()) - 1;
    if (id != 0) values_[id] = index;
    return index;
  }

  void push(Node node) { graph_.nodes.push_back(std::move(node)); }

  Node conv_node(const TracedOps::Conv& op) {
    check(!op.depthwise && !op.silu && op.kernel_h == op.kernel_w, "int8: {}: this convolution is not supported",
          module(op.filter));
    Node node{.kind = Kind::conv, .name = module(op.filter)};
    node.shape = {op.in, op.out, static_cast<int>(op.kernel_h), op.stride, op.pad, op.transposed};
    if (op.x == input_) {
      node.kind = Kind::stem;
    } else {
      node.x = value(op.x);
    }
    return node;
  }

  void add(const TracedOps::Norm&) {}

  // Convolutions become nodes when the sum that they are terms of is reached. Only the head stands alone.
  void add(const TracedOps::Conv& op) {
    if (op.y != output_) return;
    Node node = conv_node(op);
    node.kind = Kind::head;
    check(node.x >= 0 && !graph_.values[static_cast<size_t>(node.x)].bytes && !op.relu && op.add == 0,
          "int8: {}: the head of this network is not supported", node.name);
    node.y = new_value(op.y, op.out, false, "");
    has_head_ = true;
    push(std::move(node));
  }

  struct Part {
    const TracedOps::Conv* conv = nullptr;  // Null: the term is a value.
    std::string norm;
    int value = -1, up = 0;
  };

  void add(const TracedOps::Fuse& op) {
    check(op.relu, "int8: a sum without ReLU is not supported, because bytes have no sign");
    std::vector<Part> parts;
    std::string name;
    int64_t channels = 0;
    for (const TracedOps::Term& t : op.terms) {
      if (t.scale == 0) {
        parts.push_back({nullptr, "", value(t.x), t.up});
        continue;
      }
      const Norm& norm = norms_.at(t.scale);
      const auto found = convs_.find(norm.x);
      check(found != convs_.end(), "int8: a batch norm that follows no convolution is not supported");
      if (name.empty()) name = module(found->second->filter);
      channels = found->second->out;
      parts.push_back({found->second, norm.name, -1, t.up});
    }
    check(!name.empty(), "int8: a sum without a convolution is not supported");
    const bool bytes = op.y != head_input_;
    // The last convolution of full resolution adds one other term of full resolution in its epilogue.
    const auto host = std::find_if(parts.rbegin(), parts.rend(), [](const Part& p) { return p.conv && p.up == 0; });
    const bool full = std::all_of(parts.begin(), parts.end(), [](const Part& p) { return p.up == 0; });
    if (host != parts.rend() && full && (parts.size() == 1 || (parts.size() == 2 && bytes))) {
      const auto at = static_cast<size_t>(parts.rend() - host) - 1;
      fold_sum(op, parts, at, channels, bytes, name);
    } else {
      plain_sum(op, parts, channels, bytes, name);
    }
    // The input of the head is no tensor of bytes, so its range is not needed.
    graph_.observed.push_back(bytes ? graph_.nodes.back().y : -1);
  }

  // Makes the node of a convolution whose result is a term of a later sum.
  int float_term(const Part& part) {
    Node node = conv_node(*part.conv);
    check(node.kind == Kind::conv, "int8: {}: the network's input is used in a sum", node.name);
    node.norm = part.norm;
    node.y = new_value(0, part.conv->out, false, "");
    const int y = node.y;
    push(std::move(node));
    return y;
  }

  void fold_sum(const TracedOps::Fuse& op, const std::vector<Part>& parts, size_t host, int64_t channels, bool bytes,
                const std::string& name) {
    int other = -1;
    if (parts.size() == 2) {
      const Part& rest = parts[1 - host];
      other = rest.conv != nullptr ? float_term(rest) : rest.value;
    }
    Node node = conv_node(*parts[host].conv);
    check(node.kind == Kind::conv || (parts.size() == 1 && bytes), "int8: {}: the network's input is used in a sum",
          node.name);
    node.norm = parts[host].norm;
    node.add = other;
    node.act = Int8Graph::Act::relu;
    node.y = new_value(op.y, channels, bytes, bytes ? name : "");
    push(std::move(node));
  }

  void plain_sum(const TracedOps::Fuse& op, const std::vector<Part>& parts, int64_t channels, bool bytes,
                 const std::string& name) {
    Node node{.kind = Kind::sum, .name = name, .act = Int8Graph::Act::relu};
    for (const Part& part : parts) node.terms.push_back({part.conv ? float_term(part) : part.value, part.up});
    node.y = new_value(op.y, channels, bytes, bytes ? name : "");
    push(std::move(node));
  }

  void add(const TracedOps::Pool& op) {
    Node node{.kind = Kind::pool, .x = value(op.x), .pool = op.options};
    const Int8Graph::Value in = graph_.values[static_cast<size_t>(node.x)];
    check(in.bytes, "int8: the pooling of floats is not supported");
    node.y = new_value(op.y, in.channels, true, in.range);
    push(std::move(node));
  }

  void add(const TracedOps::Concat&) { fail("int8: concatenation is not supported"); }
  void add(const TracedOps::Pixels&) { fail("int8: a table of pixels is not supported"); }

  uint64_t input_, output_, head_input_ = 0;
  std::map<uint64_t, std::string> modules_;  // The key is the id of a weight.
  std::map<uint64_t, Norm> norms_;           // The key is the id of Normalised::scale.
  std::map<uint64_t, const TracedOps::Conv*> convs_;
  std::map<uint64_t, int> values_;
  bool has_head_ = false;
  Int8Graph graph_;
};

}  // namespace

void set_levels(Int8Graph& graph) {
  std::vector<int> level_of(graph.values.size(), -1);
  for (Node& node : graph.nodes) {
    node.level = 0;
    const auto after = [&](int v) {
      if (v >= 0) node.level = std::max(node.level, level_of[static_cast<size_t>(v)] + 1);
    };
    after(node.x);
    after(node.add);
    for (const Int8Graph::Term& t : node.terms) after(t.value);
    level_of[static_cast<size_t>(node.y)] = node.level;
  }
}

Int8Graph int8_graph(const PoseModel& model) {
  // The size does not matter for the graph; this is the smallest that a pose network accepts.
  constexpr int64_t kSide = 32;
  NetworkTrace trace;
  Context cx;
  cx.trace = &trace;
  const Tensor images = cx.zeros({1, kSide, kSide, 3}, DType::f32);
  const Tensor maps = model.forward(cx, images);
  return Builder(model, images.id(), maps.id()).build(trace.ops());
}

}  // namespace hr
