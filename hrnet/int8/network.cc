#include "hrnet/int8/network.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/error.h"
#include "core/parallel.h"
#include "ops/concat.h"
#include "ops/int8_ops.h"

namespace hr {
namespace {

using Kind = Int8Graph::Kind;
using Node = Int8Graph::Node;

// A batch is computed in passes of at most so many images, or two for each thread, because the memory of activations
// grows with a pass and the speed hardly does. Larger loops are longer than the time for which another process takes a
// processor, so beside a busy one passes of 8 are 3 % faster than passes of 4.
constexpr int64_t kImagesPerPass = 8;

// The rows of a detector's table are the pixels of its maps, one map after the other. Returns the first row of each
// map, and at the end the number of all rows.
std::vector<int64_t> first_rows(const Int8Graph& graph, const Int8Plan& plan) {
  std::vector<int64_t> pixels;
  for (const Node& node : graph.nodes) {
    if (node.kind != Kind::head) continue;
    const auto map = static_cast<size_t>(node.map);
    const int64_t own = plan.layout(node.y).h * plan.layout(node.y).w;
    pixels.resize(std::max(pixels.size(), map + 1), 0);
    check(pixels[map] == 0 || pixels[map] == own, "int8: {}: its map has another size than others of its place",
          node.name);
    pixels[map] = own;
  }
  std::vector<int64_t> rows{0};
  for (const int64_t some : pixels) rows.push_back(rows.back() + some);
  return rows;
}

// Returns memory for the result of n images.
Tensor make_result(Context& cx, const Int8Graph& graph, const Int8Plan& plan, int64_t n) {
  if (graph.columns > 0) return cx.empty({n, first_rows(graph, plan).back(), graph.columns}, DType::f32);
  const Node& head =
      *std::find_if(graph.nodes.begin(), graph.nodes.end(), [](const Node& node) { return node.kind == Kind::head; });
  const Int8Layout& map = plan.layout(head.y);
  return cx.empty({n, map.h, map.w, map.c}, DType::f32);
}

}  // namespace

struct Int8Network::Arena {
  explicit Arena(size_t bytes) {
    constexpr size_t kAlign = 64;
    const size_t rounded = std::max<size_t>(1, (bytes + kAlign - 1) / kAlign) * kAlign;
    data = static_cast<std::byte*>(std::aligned_alloc(kAlign, rounded));
    if (data == nullptr) throw std::bad_alloc();
    // The loops read some bytes without using them, which nobody may have written.
    std::memset(data, 0, rounded);
  }
  ~Arena() { std::free(data); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  std::byte* data = nullptr;
};

Int8Network::~Int8Network() = default;

Int8Network::Int8Network(Int8Graph graph, const Int8Source& source) : graph_(std::move(graph)) {
  const std::vector<std::vector<float>> factors = int8_factors(graph_, source);
  for (const Int8Graph::Value& v : graph_.values)
    steps_.push_back(v.bytes ? Int8Steps(source.range(v.range).step(v.range), factors[steps_.size()]) : Int8Steps());
  convs_.resize(graph_.nodes.size());
  ops_.resize(graph_.nodes.size());
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    try {
      load(source, i);
    } catch (const Error& e) {
      const std::string& name = graph_.nodes[i].name;
      if (std::string_view(e.what()).find(name) != std::string_view::npos) throw;
      fail("{}: {}", name, e.what());
    }
  }
}

void Int8Network::load(const Int8Source& source, size_t index) {
  const Node& node = graph_.nodes[index];
  const auto& s = node.shape;
  const bool silu = node.act == Int8Graph::Act::silu;
  if (node.kind == Kind::conv) {
    check(silu || node.add < 0 || step_of(node.add).zero == 0, "int8: a summand with another zero than 0 needs SiLU");
    const bool add_bytes = node.add >= 0 && graph_.values[static_cast<size_t>(node.add)].bytes;
    convs_[index] = std::make_unique<Int8Conv>(s, source.conv(node), step_of(node.x), step_of(node.y), silu,
                                               add_bytes ? step_of(node.add) : Int8Steps(1.0F));
    weight_bytes_ += convs_[index]->weight_bytes();
    return;
  }
  if (node.kind == Kind::sum) {
    check(step_of(node.y).zero == 0, "int8: a sum with another zero than 0");
    for (const Int8Graph::Term& t : node.terms)
      check(step_of(t.value).zero == 0, "int8: a term with another zero than 0");
  }
  if (node.kind == Kind::sum || node.kind == Kind::pool || node.kind == Kind::concat) return;
  const Int8Float from = source.floats(node);
  if (node.kind == Kind::stem) {
    ops_[index].stem = std::make_unique<Int8Stem>(s, from.filter, from.bias, step_of(node.y), silu);
    weight_bytes_ += ops_[index].stem->weight_bytes();
  } else if (node.kind == Kind::depthwise) {
    ops_[index].depthwise =
        std::make_unique<Int8Depthwise>(s, from.filter, from.bias, step_of(node.x), step_of(node.y));
    weight_bytes_ += ops_[index].depthwise->weight_bytes();
  } else {
    check(static_cast<int64_t>(from.filter.size()) == s.out * s.kernel * s.kernel * s.in &&
              static_cast<int64_t>(from.bias.size()) == s.out,
          "int8: {}: {} weights and {} biases have another size", node.name, from.filter.size(), from.bias.size());
    const Context home;
    FloatConv& to = ops_[index].head;
    to.filter = home.empty({s.out, s.kernel, s.kernel, s.in}, DType::f32);
    to.bias = home.empty({s.out}, DType::f32);
    home.upload(to.filter, std::as_bytes(std::span(from.filter)));
    home.upload(to.bias, std::as_bytes(std::span(from.bias)));
    weight_bytes_ += to.filter.bytes() + to.bias.bytes();
  }
}

Int8Network::Planned& Int8Network::planned(int64_t n, int64_t h, int64_t w) {
  constexpr size_t kPlans = 4;
  const auto found = std::find_if(plans_.begin(), plans_.end(),
                                  [&](const Planned& p) { return p.plan.n == n && p.plan.h == h && p.plan.w == w; });
  if (found != plans_.end()) {
    std::rotate(plans_.begin(), found, found + 1);
    return plans_.front();
  }
  while (plans_.size() >= kPlans) plans_.pop_back();
  Planned made{plan_int8(graph_, convs_, n, h, w), std::vector<Tensor>(graph_.values.size()), nullptr};
  const Context home;
  for (const Node& node : graph_.nodes) {
    if (node.kind != Kind::head) continue;
    Tensor& input = made.inputs[static_cast<size_t>(node.x)];
    const Int8Layout& in = made.plan.layout(node.x);
    if (!input.defined()) input = home.empty({in.n, in.h, in.w, in.c}, DType::f32);
  }
  if (made.plan.bytes > arena_bytes_) {
    plans_.clear();  // They could not be computed if there is no memory for the new arena.
    arena_.reset();
    arena_bytes_ = 0;
    arena_ = std::make_unique<Arena>(made.plan.bytes);
    arena_bytes_ = made.plan.bytes;
  }
  return *plans_.insert(plans_.begin(), std::move(made));
}

void Int8Network::fill_border(const Int8Plan& plan, size_t index, int64_t image) const {
  const int y = graph_.nodes[index].y;
  int8_fill_border(plan.layout(y), image, static_cast<uint8_t>(step_of(y).zero), bytes_of(y));
}

// Computes rows of a sum or a concatenation.
void Int8Network::terms(const Int8Plan& plan, const Node& node, int64_t n, int64_t first, int64_t last) const {
  constexpr size_t kMost = 8;
  Int8Term terms[kMost];
  int64_t channels[kMost];
  const size_t count = std::min(node.terms.size(), kMost);
  for (size_t t = 0; t < count; ++t) {
    const Int8Graph::Term& from = node.terms[t];
    const bool bytes = graph_.values[static_cast<size_t>(from.value)].bytes;
    channels[t] = plan.layout(from.value).c;
    terms[t].up = from.up;
    terms[t].bytes = bytes ? bytes_of(from.value) : nullptr;
    terms[t].floats = bytes ? nullptr : floats_of(from.value);
    terms[t].scale = bytes ? step_of(from.value).scale : 1.0F;
  }
  const Int8Layout& out = plan.layout(node.y);
  const bool bytes = graph_.values[static_cast<size_t>(node.y)].bytes;
  for (int64_t y = first; y < last; ++y) {
    if (node.kind == Kind::concat) {
      int8_concat_row(std::span(terms, count), std::span(channels, count), out, n, y, bytes_of(node.y));
    } else {
      int8_sum_row(std::span(terms, count), out, n, y, bytes ? bytes_of(node.y) : nullptr, step_of(node.y).scale,
                   bytes ? nullptr : floats_of(node.y));
    }
  }
}

void Int8Network::piece(const Int8Plan& plan, const float* images, size_t index, int64_t at) const {
  const Node& node = graph_.nodes[index];
  const Int8Layout& out = plan.layout(node.y);
  if (node.kind == Kind::conv) {
    Int8Conv::Call call{.in = plan.layout(node.x), .x = bytes_of(node.x), .relu = node.act == Int8Graph::Act::relu};
    const bool bytes = graph_.values[static_cast<size_t>(node.y)].bytes;
    bytes ? void(call.y_u8 = bytes_of(node.y)) : void(call.y_f32 = floats_of(node.y));
    if (node.add >= 0) {
      const bool add_bytes = graph_.values[static_cast<size_t>(node.add)].bytes;
      add_bytes ? void(call.add_u8 = bytes_of(node.add)) : void(call.add_f32 = floats_of(node.add));
    }
    convs_[index]->run(call, at);
    return;
  }
  const int64_t rows = rows_per_piece(out), parts = (out.h + rows - 1) / rows, n = at / parts;
  const int64_t first = at % parts * rows, last = std::min(out.h, first + rows);
  if (node.kind == Kind::sum || node.kind == Kind::concat) return terms(plan, node, n, first, last);
  for (int64_t y = first; y < last; ++y) {
    if (node.kind == Kind::stem) {
      ops_[index].stem->row(images, plan.h, plan.w, out, n, y, bytes_of(node.y), floats_of(node.y));
    } else if (node.kind == Kind::depthwise) {
      const Int8Depthwise& conv = *ops_[index].depthwise;
      const Int8Layout& in = plan.layout(node.x);
      graph_.values[static_cast<size_t>(node.x)].bytes ? conv.row(in, bytes_of(node.x), out, n, y, bytes_of(node.y))
                                                       : conv.row(in, floats_of(node.x), out, n, y, bytes_of(node.y));
    } else {
      int8_max_pool_row(plan.layout(node.x), bytes_of(node.x), node.pool, out, n, y, bytes_of(node.y));
    }
  }
}

// The pieces of a node: those of its result, and one for the border of each image.
int64_t Int8Network::pieces(size_t node) const {
  const bool borders = graph_.values[static_cast<size_t>(graph_.nodes[node].y)].bytes;
  return plan_->pieces[node] + (borders ? plan_->n : 0);
}

void Int8Network::piece(size_t node, int64_t index) const {
  const int64_t own = plan_->pieces[node];
  index < own ? piece(*plan_, images_, node, index) : fill_border(*plan_, node, index - own);
}

std::shared_ptr<const LoopGraph> Int8Network::record() const {
  LoopRecorder recorder;
  const auto range = [&](int v) {
    const Int8Layout& l = plan_->layout(v);
    const bool bytes = graph_.values[static_cast<size_t>(v)].bytes;
    return ByteRange(data_[static_cast<size_t>(v)], static_cast<size_t>(bytes ? l.bytes() : l.n * l.h * l.w * l.c * 4));
  };
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (node.kind == Kind::head) continue;
    LoopOperands operands{{}, {range(node.y)}};
    if (node.x >= 0 && node.kind != Kind::stem) operands.reads.push_back(range(node.x));
    if (node.add >= 0) operands.reads.push_back(range(node.add));
    for (const Int8Graph::Term& t : node.terms) operands.reads.push_back(range(t.value));
    recorder.add({.pieces = pieces(i),
                  .body = [this, i](int64_t index, LoopWorker&) { piece(i, index); },
                  .operands = std::move(operands)});
  }
  return recorder.finish();
}

void Int8Network::run_loops(const std::shared_ptr<const LoopGraph>& loops) {
  // The small detector's loops take some 20 microseconds each, less than it takes to hand out their pieces one by one.
  const bool is_short = std::any_of(graph_.nodes.begin(), graph_.nodes.end(),
                                    [](const Node& node) { return node.kind == Kind::depthwise; });
  if (is_short) return schedule_.run(loops);
  const int threads = compute_threads();
  if (team_ == nullptr || team_threads_ != threads) {
    team_ = std::make_unique<LoopTeam>(threads);
    team_threads_ = threads;
  }
  team_->run(loops);
}

void Int8Network::run_observed() const {
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (graph_.nodes[i].kind == Kind::head) continue;
    for (int64_t index = 0; index < pieces(i); ++index) piece(i, index);
    const int y = graph_.nodes[i].y;
    if (graph_.values[static_cast<size_t>(y)].bytes) observer_(y, plan_->layout(y), bytes_of(y));
  }
}

void Int8Network::heads(Context& cx, const Int8Plan& plan, const std::vector<Tensor>& inputs, const Tensor& result,
                        int64_t first) {
  const std::vector<int64_t> rows = first_rows(graph_, plan);
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    if (node.kind != Kind::head) continue;
    FloatConv& conv = ops_[i].head;
    const Tensor map =
        conv2d(cx, inputs[static_cast<size_t>(node.x)], conv.filter,
               {.stride = node.shape.stride, .pad = node.shape.pad, .bias = &conv.bias, .packed = &conv.packed});
    if (graph_.columns == 0) {
      std::memcpy(result.data<float>() + first * (result.numel() / result.dim(0)), map.data<float>(), map.bytes());
      continue;
    }
    const int64_t each = result.dim(1) * result.dim(2);
    put_pixels(cx, map, result.view({plan.n, result.dim(1), result.dim(2)}, first * each),
               {.first_row = rows[static_cast<size_t>(node.map)],
                .first_column = node.column,
                .plain = node.sigmoid ? 0 : node.shape.out});
  }
}

// Computes the images of one pass, whose first one is `first` of the result.
void Int8Network::compute(Context& cx, Planned& planned, const float* images, const Tensor& result, int64_t first) {
  const Int8Plan& plan = planned.plan;
  plan_ = &plan;
  images_ = images;
  data_.assign(graph_.values.size(), nullptr);
  for (size_t v = 0; v < data_.size(); ++v) {
    if (plan.offsets[v] != Int8Plan::kOutside) data_[v] = arena_->data + plan.offsets[v];
    if (planned.inputs[v].defined()) data_[v] = static_cast<std::byte*>(planned.inputs[v].raw());
  }
  if (observer_) {
    run_observed();
  } else {
    if (planned.loops == nullptr) planned.loops = record();
    run_loops(planned.loops);
  }
  heads(cx, plan, planned.inputs, result, first);
}

Tensor Int8Network::run(Context& cx, const Tensor& images) {
  const int64_t n = images.dim(0), h = images.dim(1), w = images.dim(2);
  check(n > 0, "int8: a batch without images");
  check(cx.loops == nullptr, "int8: the loops of a network of 8 bits cannot be recorded");
  const int64_t most = std::max<int64_t>(kImagesPerPass, 2 * compute_threads());
  const int64_t passes = (n + most - 1) / most, each = (n + passes - 1) / passes;
  Tensor result;
  for (int64_t first = 0; first < n; first += each) {
    Planned& p = planned(std::min(each, n - first), h, w);
    if (first == 0) result = make_result(cx, graph_, p.plan, n);
    compute(cx, p, images.data<float>() + first * h * w * 3, result, first);
  }
  return result;
}

}  // namespace hr
