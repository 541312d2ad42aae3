#include "hrnet/int8/network.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/error.h"
#include "ops/int8_ops.h"

namespace hr {
namespace {

using Kind = Int8Graph::Kind;
using Node = Int8Graph::Node;

struct Free {
  void operator()(std::byte* p) const { std::free(p); }
};
using Memory = std::unique_ptr<std::byte, Free>;

Memory zeros(size_t bytes) {
  const size_t rounded = (bytes + 63) / 64 * 64;
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(64, rounded)));
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory.get(), 0, rounded);
  return memory;
}

// A sum's piece of work has about this many elements.
constexpr int64_t kElements = 32 << 10;

int64_t rows_per_piece(const Int8Layout& l) {
  return std::max<int64_t>(1, kElements / std::max<int64_t>(1, l.w * l.c));
}

}  // namespace

// A plan holds the memory and the order of work for inputs of one shape.
struct Int8Network::Plan {
  int64_t n = 0, h = 0, w = 0;
  std::vector<Int8Layout> layouts;  // By value. Floats are dense; their border is not used.
  std::vector<std::byte*> data;     // By value; null for the heatmaps, which belong to the call.
  Tensor head_input;                // Floats.
  std::vector<size_t> sizes;        // By value, the bytes of its memory.
  std::vector<Memory> memory;
  size_t bytes = 0;

  struct Job {
    size_t node = 0;
    int64_t end = 0;  // The job's pieces are those from the end of the job before to this one.
  };
  struct Level {
    std::vector<Job> jobs;
  };
  std::vector<Level> levels;

  uint8_t* bytes_of(int v) const { return reinterpret_cast<uint8_t*>(data[static_cast<size_t>(v)]); }
  float* floats_of(int v) const { return reinterpret_cast<float*>(data[static_cast<size_t>(v)]); }
  const Int8Layout& layout(int v) const { return layouts[static_cast<size_t>(v)]; }

  void allocate(const Int8Graph& graph);
};

// A value's memory is used again by values of later levels, when all nodes that read it have been computed. The border
// of bytes must stay zero, so only values of the same layout share memory.
void Int8Network::Plan::allocate(const Int8Graph& graph) {
  struct Block {
    Int8Layout layout;
    bool bytes;
    size_t size;
    int free_after;
    std::byte* data;
  };
  const size_t count = graph.values.size();
  std::vector<int> made(count, 0), last(count, 0);
  const Node* head = nullptr;
  for (const Node& node : graph.nodes) {
    made[static_cast<size_t>(node.y)] = node.level;
    const auto read = [&](int v) {
      if (v >= 0) last[static_cast<size_t>(v)] = std::max(last[static_cast<size_t>(v)], node.level);
    };
    read(node.x);
    read(node.add);
    for (const Int8Graph::Term& t : node.terms) read(t.value);
    if (node.kind == Kind::head) head = &node;
  }
  std::vector<size_t> order;
  for (size_t v = 0; v < count; ++v) {
    if (head == nullptr || (static_cast<int>(v) != head->x && static_cast<int>(v) != head->y)) order.push_back(v);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return made[a] < made[b]; });
  std::vector<Block> blocks;
  data.assign(count, nullptr);
  sizes.assign(count, 0);
  for (const size_t v : order) {
    const Int8Layout& l = layouts[v];
    const bool is_bytes = graph.values[v].bytes;
    const size_t size = is_bytes ? static_cast<size_t>(l.bytes()) : static_cast<size_t>(l.n * l.h * l.w * l.c) * 4;
    const auto fits = [&](const Block& b) {
      return b.free_after < made[v] && b.bytes == is_bytes &&
             (is_bytes ? b.layout == l : b.size >= size && b.size <= 2 * size);
    };
    auto found = std::find_if(blocks.begin(), blocks.end(), fits);
    if (found == blocks.end()) {
      memory.push_back(zeros(size));
      bytes += size;
      found = blocks.insert(blocks.end(), {l, is_bytes, size, 0, memory.back().get()});
    }
    found->free_after = last[v];
    data[v] = found->data;
    sizes[v] = found->size;
  }
}

Int8Network::~Int8Network() = default;

Int8Network::Int8Network(Int8Graph graph, const Int8Parameters& parameters) : graph_(std::move(graph)) {
  for (const Int8Graph::Value& v : graph_.values) {
    scales_.push_back(0.0F);
    if (!v.bytes) continue;
    const auto found = parameters.ranges.find(v.range);
    check(found != parameters.ranges.end(), "int8: there is no range of {}", v.range);
    check(std::isfinite(found->second) && found->second > 0, "int8: the range of {} is {}", v.range, found->second);
    scales_.back() = found->second / 255;
  }
  const Context home;
  for (const Node& node : graph_.nodes) {
    std::unique_ptr<Int8Conv>& conv = convs_.emplace_back();
    const auto& s = node.shape;
    if (node.kind == Kind::conv) {
      const auto found = parameters.convs.find(node.name);
      check(found != parameters.convs.end(), "int8: there are no weights of {}", node.name);
      try {
        conv = std::make_unique<Int8Conv>(s, found->second, scale_of(node.x), scale_of(node.y));
      } catch (const Error& e) {
        fail("{}: {}", node.name, e.what());
      }
    }
    if (node.kind != Kind::stem && node.kind != Kind::head) continue;
    const auto found = parameters.floats.find(node.name);
    check(found != parameters.floats.end(), "int8: there are no weights of {}", node.name);
    const Int8Parameters::Float& from = found->second;
    check(static_cast<int64_t>(from.filter.size()) == s.out * s.kernel * s.kernel * s.in &&
              static_cast<int64_t>(from.bias.size()) == s.out,
          "int8: {}: {} weights and {} biases have another size", node.name, from.filter.size(), from.bias.size());
    if (node.kind == Kind::stem) {
      stems_[node.name] = std::make_unique<Int8Stem>(s, from.filter, from.bias, scale_of(node.y));
      continue;
    }
    FloatConv& to = floats_[node.name];
    to.filter = home.empty({s.out, s.kernel, s.kernel, s.in}, DType::f32);
    to.bias = home.empty({s.out}, DType::f32);
    home.upload(to.filter, std::as_bytes(std::span(from.filter)));
    home.upload(to.bias, std::as_bytes(std::span(from.bias)));
  }
}

float Int8Network::scale_of(int value) const { return scales_[static_cast<size_t>(value)]; }

size_t Int8Network::activation_bytes() const {
  size_t bytes = 0;
  for (const auto& p : plans_) bytes += p->bytes;
  return bytes;
}

Int8Network::Plan& Int8Network::plan(int64_t n, int64_t h, int64_t w) {
  // A run alternates between full batches and a last one at most, so two plans are kept.
  constexpr size_t kPlans = 2;
  const auto found =
      std::find_if(plans_.begin(), plans_.end(), [&](const auto& p) { return p->n == n && p->h == h && p->w == w; });
  if (found != plans_.end()) {
    std::rotate(plans_.begin(), found, found + 1);
    return *plans_.front();
  }
  while (plans_.size() >= kPlans) plans_.pop_back();
  auto made = std::make_shared<Plan>();
  made->n = n;
  made->h = h;
  made->w = w;
  made->layouts.resize(graph_.values.size());
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    Int8Layout in{n, h, w, 3};
    if (node.kind == Kind::sum) {
      const Int8Graph::Term& t = node.terms.front();
      const Int8Layout& l = made->layout(t.value);
      in = {n, l.h << t.up, l.w << t.up, l.c};
    } else if (node.x >= 0) {
      in = made->layout(node.x);
    }
    Int8Layout out = in;
    if (node.kind == Kind::pool) {
      out.h = (in.h + 2 * node.pool.pad - node.pool.kernel) / node.pool.stride + 1;
      out.w = (in.w + 2 * node.pool.pad - node.pool.kernel) / node.pool.stride + 1;
    } else if (node.kind != Kind::sum) {
      const auto& s = node.shape;
      const auto side = [&](int64_t a) { return s.transposed ? 2 * a : (a + 2 * s.pad - s.kernel) / s.stride + 1; };
      out = {n, side(in.h), side(in.w), s.out};
    }
    made->layouts[static_cast<size_t>(node.y)] = out;
    if (node.kind == Kind::head) continue;
    if (made->levels.size() <= static_cast<size_t>(node.level))
      made->levels.resize(static_cast<size_t>(node.level) + 1);
    auto& jobs = made->levels[static_cast<size_t>(node.level)].jobs;
    const int64_t rows = rows_per_piece(out);
    const int64_t pieces = convs_[i] != nullptr ? convs_[i]->pieces(in) : n * ((out.h + rows - 1) / rows);
    jobs.push_back({i, (jobs.empty() ? 0 : jobs.back().end) + pieces});
  }
  made->allocate(graph_);
  const Node& head = graph_.nodes.back();
  if (head.kind == Kind::head) {
    const Int8Layout& in = made->layout(head.x);
    made->head_input = Context().empty({in.n, in.h, in.w, in.c}, DType::f32);
    made->data[static_cast<size_t>(head.x)] = static_cast<std::byte*>(made->head_input.raw());
    made->sizes[static_cast<size_t>(head.x)] = made->head_input.bytes();
    made->bytes += made->head_input.bytes();
  }
  plans_.insert(plans_.begin(), std::move(made));
  return *plans_.front();
}

void Int8Network::piece(const Plan& plan, const float* images, size_t index, int64_t at) const {
  const Node& node = graph_.nodes[index];
  const Int8Layout& out = plan.layout(node.y);
  const bool bytes = graph_.values[static_cast<size_t>(node.y)].bytes;
  if (node.kind == Kind::conv) {
    Int8Conv::Call call{.in = plan.layout(node.x), .x = plan.bytes_of(node.x), .relu = node.relu};
    bytes ? void(call.y_u8 = plan.bytes_of(node.y)) : void(call.y_f32 = plan.floats_of(node.y));
    if (node.add >= 0) {
      const bool add_bytes = graph_.values[static_cast<size_t>(node.add)].bytes;
      add_bytes ? void(call.add_u8 = plan.bytes_of(node.add)) : void(call.add_f32 = plan.floats_of(node.add));
      call.add_scale = add_bytes ? scale_of(node.add) : 1.0F;
    }
    convs_[index]->run(call, at);
    return;
  }
  const int64_t rows = rows_per_piece(out), parts = (out.h + rows - 1) / rows, n = at / parts;
  const int64_t first = at % parts * rows, last = std::min(out.h, first + rows);
  if (node.kind == Kind::stem) {
    const Int8Stem& conv = *stems_.at(node.name);
    for (int64_t y = first; y < last; ++y) conv.row(images, plan.h, plan.w, out, n, y, plan.bytes_of(node.y));
    return;
  }
  if (node.kind == Kind::pool) {
    for (int64_t y = first; y < last; ++y)
      int8_max_pool_row(plan.layout(node.x), plan.bytes_of(node.x), node.pool, out, n, y, plan.bytes_of(node.y));
    return;
  }
  Int8Term terms[8];
  const size_t count = std::min(node.terms.size(), std::size(terms));
  for (size_t t = 0; t < count; ++t) {
    const Int8Graph::Term& from = node.terms[t];
    const bool term_bytes = graph_.values[static_cast<size_t>(from.value)].bytes;
    terms[t].up = from.up;
    terms[t].bytes = term_bytes ? plan.bytes_of(from.value) : nullptr;
    terms[t].floats = term_bytes ? nullptr : plan.floats_of(from.value);
    terms[t].scale = term_bytes ? scale_of(from.value) : 1.0F;
  }
  for (int64_t y = first; y < last; ++y) {
    int8_sum_row(std::span(terms, count), out, n, y, bytes ? plan.bytes_of(node.y) : nullptr, scale_of(node.y),
                 bytes ? nullptr : plan.floats_of(node.y));
  }
}

Tensor Int8Network::run(Context& cx, const Tensor& images) {
  Plan& p = plan(images.dim(0), images.dim(1), images.dim(2));
  const Node& head = graph_.nodes.back();
  check(head.kind == Kind::head, "int8: the network does not end in a convolution");
  const auto* pixels = images.data<float>();
  if (cx.loops != nullptr) {
    record(*cx.loops, plans_.front(), pixels);
    return finish(cx, p);
  }
  // All levels run in one parallel region, because starting a team for each of them costs more than a barrier. A piece
  // goes to the next thread that is free, so a thread that was interrupted holds up no other for long.
#pragma omp parallel
  {
    for (const Plan::Level& level : p.levels) {
      const int64_t pieces = level.jobs.empty() ? 0 : level.jobs.back().end;
#pragma omp for schedule(dynamic)
      for (int64_t i = 0; i < pieces; ++i) {
        const auto job = std::upper_bound(level.jobs.begin(), level.jobs.end(), i,
                                          [](int64_t at, const Plan::Job& j) { return at < j.end; });
        piece(p, pixels, job->node, i - (job == level.jobs.begin() ? 0 : (job - 1)->end));
      }
    }
  }
  return finish(cx, p);
}

// Adds the nodes to `loops`, each as one loop.
void Int8Network::record(LoopRecorder& loops, const std::shared_ptr<Plan>& plan, const float* images) {
  loops.set_owns_memory();
  const auto range = [&](int v) {
    return ByteRange(plan->data[static_cast<size_t>(v)], plan->sizes[static_cast<size_t>(v)]);
  };
  for (const Plan::Level& level : plan->levels) {
    int64_t begin = 0;
    for (const Plan::Job& job : level.jobs) {
      const Node& node = graph_.nodes[job.node];
      LoopOperands operands{.writes = {range(node.y)}};
      if (node.kind == Kind::stem) {
        operands.reads.push_back(ByteRange(reinterpret_cast<const std::byte*>(images),
                                           static_cast<size_t>(plan->n * plan->h * plan->w * 3) * sizeof(float)));
      } else if (node.x >= 0) {
        operands.reads.push_back(range(node.x));
      }
      if (node.add >= 0) operands.reads.push_back(range(node.add));
      for (const Int8Graph::Term& t : node.terms) operands.reads.push_back(range(t.value));
      loops.add(
          {.pieces = job.end - begin,
           .body = [this, plan, images, index = job.node](int64_t i, LoopWorker&) { piece(*plan, images, index, i); },
           .operands = std::move(operands)});
      begin = job.end;
    }
  }
}

// Computes the head.
Tensor Int8Network::finish(Context& cx, const Plan& plan) {
  const Node& head = graph_.nodes.back();
  FloatConv& conv = floats_.at(head.name);
  return conv2d(cx, plan.head_input, conv.filter,
                {.stride = head.shape.stride, .pad = head.shape.pad, .bias = &conv.bias, .packed = &conv.packed});
}

}  // namespace hr
