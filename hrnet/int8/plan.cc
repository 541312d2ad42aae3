#include "hrnet/int8/plan.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace hr {
namespace {

using Kind = Int8Graph::Kind;
using Node = Int8Graph::Node;

// A piece of work that is no convolution of bytes has about this many elements.
constexpr int64_t kElements = 32 << 10;

// The layout of a node's result, from those of its operands.
Int8Layout result_of(const Int8Plan& plan, const Int8Graph& graph, const Node& node) {
  Int8Layout in{plan.n, plan.h, plan.w, 3};
  if (!node.terms.empty()) {
    const Int8Graph::Term& first = node.terms.front();
    const Int8Layout& l = plan.layout(first.value);
    in = {plan.n, l.h << first.up, l.w << first.up, l.c};
    for (const Int8Graph::Term& t : node.terms) {
      const Int8Layout& other = plan.layout(t.value);
      check(other.h << t.up == in.h && other.w << t.up == in.w,
            "int8: {}: the terms have different sizes for an input of {} x {}", node.name, plan.h, plan.w);
    }
  } else if (node.x >= 0) {
    in = plan.layout(node.x);
  }
  const auto side = [&](int64_t a) {
    if (node.kind == Kind::sum || node.kind == Kind::concat) return a;
    if (node.kind == Kind::pool) return (a + 2 * node.pool.pad - node.pool.kernel) / node.pool.stride + 1;
    const auto& s = node.shape;
    return s.transposed ? 2 * a : (a + 2 * s.pad - s.kernel) / s.stride + 1;
  };
  const Int8Layout out{plan.n, side(in.h), side(in.w), graph.values[static_cast<size_t>(node.y)].channels};
  check(out.h > 0 && out.w > 0, "int8: {}: an input of {} x {} is too small", node.name, plan.h, plan.w);
  if (node.add >= 0) {
    check(plan.layout(node.add) == out, "int8: {}: the summand has another size for an input of {} x {}", node.name,
          plan.h, plan.w);
  }
  return out;
}

// From where a value is made to where it is read for the last time: in the order of the nodes, and in levels.
struct Lifetime {
  struct Span {
    int first = 0, last = 0;
    bool overlaps(const Span& other) const { return first <= other.last && other.first <= last; }
  };
  Span nodes, levels;
  bool overlaps(const Lifetime& other) const { return nodes.overlaps(other.nodes) || levels.overlaps(other.levels); }
};

std::vector<Lifetime> lifetimes(const Int8Graph& graph) {
  std::vector<Lifetime> lives(graph.values.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const int at = static_cast<int>(i);
    lives[static_cast<size_t>(node.y)] = {{at, at}, {node.level, node.level}};
    const auto read = [&](int v) {
      if (v < 0) return;
      Lifetime& life = lives[static_cast<size_t>(v)];
      life.nodes.last = at;
      life.levels.last = std::max(life.levels.last, node.level);
    };
    read(node.x);
    read(node.add);
    for (const Int8Graph::Term& t : node.terms) read(t.value);
  }
  return lives;
}

// Gives every value a place, the largest first, as low as those allow that are alive at the same time.
void place(Int8Plan& plan, const Int8Graph& graph) {
  constexpr size_t kAlign = 64;
  const std::vector<Lifetime> lives = lifetimes(graph);
  std::vector<size_t> sizes(graph.values.size()), order;
  std::vector<bool> outside(graph.values.size(), false);
  for (const Node& node : graph.nodes) {
    if (node.kind == Kind::head) outside[static_cast<size_t>(node.x)] = outside[static_cast<size_t>(node.y)] = true;
  }
  for (const Node& node : graph.nodes) {
    const auto v = static_cast<size_t>(node.y);
    if (outside[v]) continue;
    const Int8Layout& l = plan.layouts[v];
    const int64_t bytes = graph.values[v].bytes ? l.bytes() : l.n * l.h * l.w * l.c * 4;
    sizes[v] = (static_cast<size_t>(bytes) + kAlign - 1) / kAlign * kAlign;
    order.push_back(v);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  plan.offsets.assign(graph.values.size(), Int8Plan::kOutside);
  std::vector<size_t> placed;  // By their offsets.
  for (const size_t v : order) {
    size_t at = 0;
    for (const size_t other : placed) {
      if (!lives[v].overlaps(lives[other])) continue;
      if (at + sizes[v] <= plan.offsets[other]) break;
      at = std::max(at, plan.offsets[other] + sizes[other]);
    }
    plan.offsets[v] = at;
    plan.bytes = std::max(plan.bytes, at + sizes[v]);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), at,
                                   [&](size_t offset, size_t other) { return offset < plan.offsets[other]; }),
                  v);
  }
}

}  // namespace

int64_t rows_per_piece(const Int8Layout& l) {
  return std::max<int64_t>(1, kElements / std::max<int64_t>(1, l.w * l.c));
}

Int8Plan plan_int8(const Int8Graph& graph, const std::vector<std::unique_ptr<Int8Conv>>& convs, int64_t n, int64_t h,
                   int64_t w) {
  Int8Plan plan{.n = n, .h = h, .w = w};
  plan.layouts.resize(graph.values.size());
  plan.pieces.resize(graph.nodes.size(), 0);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const Int8Layout out = result_of(plan, graph, node);
    plan.layouts[static_cast<size_t>(node.y)] = out;
    if (node.kind == Kind::head) continue;
    const int64_t rows = rows_per_piece(out);
    plan.pieces[i] = convs[i] != nullptr ? convs[i]->pieces(plan.layout(node.x)) : n * ((out.h + rows - 1) / rows);
  }
  place(plan, graph);
  return plan;
}

}  // namespace hr
