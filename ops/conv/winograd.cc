#include "ops/conv/winograd.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <span>

#include "core/error.h"
#include "core/huge_pages.h"
#include "core/parallel.h"
#include "core/piece_shares.h"
#include "ops/conv/winograd_prefetch.h"
#include "ops/conv/winograd_sizes.h"

namespace hr {

using winograd::ceil_div;
using winograd::Filters;
using winograd::kPoints;
using winograd::Matrices;
using winograd::multiply_block;
using winograd::Problem;
using winograd::problem_of;
using winograd::round_up;
using winograd::spread;

namespace {

// Returns the length of a block, at most `longest` and a multiple of `step`, with which the threads finish earliest:
// with 11 blocks, one of two threads would compute 6 and the other one 5.
int64_t even_block(int64_t tiles, int64_t longest, int64_t step) {
  const int64_t threads = compute_threads();
  const auto end = [&](int64_t block) { return ceil_div(ceil_div(tiles, block), threads) * block; };
  int64_t best = longest;
  for (int64_t block = longest / step * step; block > 0 && 2 * block >= longest; block -= step) {
    if (end(block) < end(best)) best = block;
  }
  return best;
}

// Returns the geometry of the convolution that computes dx from dy. Its filters are rotated, which the caller takes
// care of.
ConvGeometry mirrored(const ConvGeometry& g) {
  return {.n = g.n,
          .h = g.out_h(),
          .w = g.out_w(),
          .ci = g.co,
          .co = g.ci,
          .kh = 3,
          .kw = 3,
          .stride = 1,
          .pad = 2 - g.pad};
}

}  // namespace

float* Winograd::Scratch::get(int64_t floats) {
  if (floats > floats_) {
    data_.reset();
    floats_ = 0;
    data_.reset(static_cast<float*>(allocate_on_huge_pages(static_cast<size_t>(floats) * sizeof(float))));
    if (data_ == nullptr) throw std::bad_alloc();
    floats_ = floats;
  }
  return data_.get();
}
void Winograd::Scratch::Free::operator()(float* p) const { std::free(p); }

// A plan divides a convolution. The output channels are divided into blocks of two vectors. The transformed filters are
// stored block after block, and each block has one matrix [channels, width] per point.
struct Winograd::Plan {
  bool by_channels = false;  // This chooses run_by_channels() instead of run_by_tiles().
  // In run_by_tiles(), each thread transforms the filters for itself.
  bool own_filters = false;
  int64_t width = 0;       // A block has this many output channels.
  int64_t blocks = 0;      // There are this many blocks of output channels.
  int64_t tile_block = 0;  // One piece of work computes this many tiles.
  // The transformed inputs of this many tiles are in memory at the same time.
  int64_t shared_tiles = 0;
  // The transformed inputs of a tile take this many floats for each point.
  int64_t input_row = 0;
  // The transformed filters of this many input channels are in memory at the same time.
  int64_t channels = 0;

  int64_t input_point() const { return spread(shared_tiles * input_row); }
  int64_t filter_point() const { return spread(channels * width); }
  int64_t product_point() const { return spread(tile_block * width); }
  // The threads share memory of this size: transformed inputs or transformed filters.
  int64_t shared_floats() const {
    if (by_channels) return kPoints * input_point();
    return own_filters ? 0 : kPoints * blocks * filter_point();
  }
};

Winograd::Winograd(CpuLevel level) : loops_(winograd::loops_at(level)) {}

bool Winograd::supports(const ConvGeometry& g) const {
  return loops_ != nullptr && g.kh == 3 && g.kw == 3 && g.stride == 1 && g.pad <= 2 && !g.transposed &&
         g.src == DType::f32 && g.dst == DType::f32;
}

// The costs are cycles of one thread, rounded from measurements on a processor with AVX-512 (docs/measured/cpu.md).
// They are higher than the cost of the instructions alone, because they include the cache misses.
double Winograd::gain(const ConvGeometry& forward, Pass pass) const {
  struct Cycles {
    double product;  // A multiplication and an addition of vectors cost this much.
    double filter;   // Transforming a vector of filters costs this much.
    double tile;     // Transforming a vector of a tile's inputs or outputs costs this much.
    double call;     // Starting the threads and waiting for them costs this much.
  };
  const Cycles cycles = loops_->lanes == 16 ? Cycles{0.8, 450, 330, 20e3} : Cycles{0.5, 230, 200, 20e3};
  const Problem p = problem_of(pass == Pass::backward_data ? mirrored(forward) : forward);
  const auto vectors_in = static_cast<double>(ceil_div(p.c, loops_->lanes));
  const auto vectors_out = static_cast<double>(ceil_div(p.k, loops_->lanes));
  // This is the number of vectors of all filters at one point. A vector holds output channels, or input channels in the
  // gradient of the filters.
  const double filters =
      pass == Pass::backward_filter ? static_cast<double>(p.k) * vectors_in : static_cast<double>(p.c) * vectors_out;
  const auto tiles = static_cast<double>(p.tiles());
  // The gradient of the filters needs all transformed tiles at the same time, so they come from the L3 cache.
  const double tile = pass == Pass::backward_filter ? 2 * cycles.tile : cycles.tile;
  const double direct = cycles.product * static_cast<double>(p.n * p.out_h * p.out_w * 9) * filters;
  const double winograd = cycles.product * kPoints * tiles * filters + cycles.filter * filters +
                          tile * tiles * (vectors_in + vectors_out) + cycles.call;
  return direct / winograd;
}

Winograd::Plan Winograd::plan_of(const Problem& p) const {
  // Each thread gets several pieces of work, so that all threads finish at about the same time.
  constexpr int64_t kPieces = 3;
  constexpr int64_t kFewTiles = 24, kManyTiles = 96;
  // The L2 cache is assumed to hold this many floats. Half of them are for inputs and products.
  constexpr int64_t kSecondCache = 256 << 10;
  constexpr int64_t kSharedFloats = 4 << 20;
  const int64_t lanes = loops_->lanes, rows = loops_->rows, tiles = p.tiles();
  const int64_t pieces = kPieces * compute_threads();
  Plan plan;
  plan.width = 2 * lanes;
  plan.blocks = ceil_div(p.k, plan.width);
  plan.input_row = round_up(p.c, lanes);
  const int64_t filters = kPoints * p.c * plan.blocks * plan.width;
  // When the work is divided by tiles, every piece reads all filters. If they come from the L3 cache, a piece needs
  // about 24 tiles to hide the time of reading them.
  const int64_t few = filters > 4 * kSecondCache ? kManyTiles : kFewTiles;
  plan.by_channels = filters > kSecondCache && tiles < 2 * few * compute_threads();
  if (plan.by_channels) {
    plan.channels = std::min<int64_t>(p.c, 64);
    // Divisions are at multiples of `rows`, because a part of the statistics must not be divided.
    plan.shared_tiles = std::min(tiles, std::max(kManyTiles, kSharedFloats / (kPoints * plan.input_row) / rows * rows));
    const int64_t tile_blocks =
        std::max(ceil_div(plan.shared_tiles, kManyTiles),
                 std::min(ceil_div(pieces, plan.blocks), ceil_div(plan.shared_tiles, kFewTiles)));
    plan.tile_block = std::min(plan.shared_tiles, round_up(ceil_div(plan.shared_tiles, tile_blocks), rows));
  } else {
    plan.channels = p.c;
    // Transforming the filters in each thread costs at most a tenth of the thread's work, and no thread waits at a
    // barrier for another one that was interrupted.
    constexpr int64_t kOwnFilters = 64;
    plan.own_filters = filters <= kSecondCache && tiles >= kOwnFilters * compute_threads();
    const int64_t fits = kSecondCache / 2 / (kPoints * (plan.input_row + plan.width)) / rows * rows;
    const int64_t fair = ceil_div(ceil_div(tiles, pieces), rows) * rows;
    plan.tile_block = std::clamp(std::min(fits, fair), std::min(rows, tiles), std::min(2 * kFewTiles, tiles));
    plan.tile_block = even_block(tiles, plan.tile_block, rows);
    plan.shared_tiles = plan.tile_block;
  }
  return plan;
}

void Winograd::run(const Context& cx, const Problem& p, const Filters& filters) {
  const Plan plan = plan_of(p);
  Tensor shared;
  if (const int64_t floats = plan.shared_floats(); floats > 0) shared = cx.empty({floats}, DType::f32);
  std::vector<Loop> loops =
      plan.by_channels ? loops_by_channels(p, plan, filters, shared) : loops_by_tiles(p, plan, filters, shared);
  if (cx.loops != nullptr) {
    for (Loop& loop : loops) cx.loops->add(std::move(loop));
    return;
  }
  const auto threads = static_cast<size_t>(compute_threads());
  if (of_thread_.size() < threads) of_thread_.resize(threads);
  size_t scratch = 0;
  for (const Loop& loop : loops) scratch = std::max(scratch, loop.scratch);
  std::vector<std::atomic<int64_t>> taken(loops.size() * threads);
#pragma omp parallel
  {
    const int index = omp_get_thread_num();
    LoopWorker worker{.index = index,
                      .scratch = reinterpret_cast<std::byte*>(
                          of_thread_[static_cast<size_t>(index)].get(static_cast<int64_t>(scratch / sizeof(float))))};
    for (size_t l = 0; l < loops.size(); ++l) {
      worker.fresh = true;
      const std::span<std::atomic<int64_t>> own(taken.data() + l * threads, threads);
      for (int64_t i = 0; (i = take_piece(own, loops[l].pieces, index)) >= 0;) {
        loops[l].body(i, worker);
        worker.fresh = false;
      }
#pragma omp barrier
    }
  }
}

// Returns how many vectors of the block that starts at output channel k0 are in use.
int Winograd::vectors_of(const Problem& p, const Plan& plan, int64_t k0) const {
  return static_cast<int>(ceil_div(std::min(plan.width, p.k - k0), loops_->lanes));
}

namespace {

ByteRange range(const float* data, int64_t floats) {
  return {reinterpret_cast<const std::byte*>(data), data == nullptr ? 0 : static_cast<size_t>(floats) * sizeof(float)};
}

// The operands of the loop that computes y.
LoopOperands operands_of(const Problem& p) {
  const int64_t outputs = p.n * p.out_h * p.out_w * p.k;
  return {{range(p.x, p.n * p.h * p.w * p.c), range(p.add, outputs)}, {range(p.y, outputs)}};
}

}  // namespace

// Divides the work by tiles: a piece of work takes a few tiles from the inputs to the outputs. All filters are
// transformed first, either once by all threads together or, with own_filters, by each thread for itself.
std::vector<Loop> Winograd::loops_by_tiles(const Problem& p, const Plan& plan, const Filters& from,
                                           const Tensor& shared) const {
  // One piece of the filter transform covers this many input channels.
  constexpr int64_t kChannels = 64;
  const int64_t parts = ceil_div(p.c, kChannels), filter_pieces = ceil_div(p.k, loops_->lanes) * parts;
  const int64_t filter_block = kPoints * plan.filter_point(), filter_floats = plan.blocks * filter_block;
  const int64_t tile_floats = kPoints * (plan.input_point() + plan.product_point());
  const auto transform = [=, this](float* filters, int64_t i) {
    const int64_t k0 = i / parts * loops_->lanes, c0 = i % parts * kChannels;
    float* to = filters + k0 / plan.width * filter_block + c0 * plan.width + k0 % plan.width;
    loops_->transform_filters(p, from, k0, c0, std::min(p.c, c0 + kChannels), {to, plan.filter_point(), plan.width});
  };
  std::vector<Loop> loops;
  LoopOperands operands = operands_of(p);
  float* const all = plan.own_filters ? nullptr : shared.data<float>();
  if (!plan.own_filters) {
    loops.push_back({.pieces = filter_pieces,
                     .body = [=](int64_t i, LoopWorker&) { transform(all, i); },
                     .operands = LoopOperands{{}, {range(all, filter_floats)}}});
    operands.reads.push_back(range(all, filter_floats));
  }
  const auto body = [=, this](int64_t i, LoopWorker& worker) {
    auto* scratch = reinterpret_cast<float*>(worker.scratch);
    const Matrices<float> in{scratch, plan.input_point(), plan.input_row};
    const Matrices<float> products{scratch + kPoints * plan.input_point(), plan.product_point(), plan.width};
    float* filters = plan.own_filters ? scratch + tile_floats : all;
    if (plan.own_filters && worker.fresh) {
      for (int64_t f = 0; f < filter_pieces; ++f) transform(filters, f);
    }
    const int64_t first = i * plan.tile_block, count = std::min(plan.tile_block, p.tiles() - first);
    loops_->transform_inputs(p, first, count, 0, p.c, in);
    for (int64_t b = 0; b < plan.blocks; ++b) {
      const int64_t k0 = b * plan.width;
      const int used = vectors_of(p, plan, k0);
      multiply_block(*loops_, p, first, count, k0, k0 + plan.width, p.c, used, in,
                     {filters + b * filter_block, plan.filter_point(), plan.width}, products, false, true);
      loops_->transform_outputs(p, first, count, k0, used, products);
    }
  };
  loops.push_back({.pieces = ceil_div(p.tiles(), plan.tile_block),
                   .body = body,
                   .scratch = static_cast<size_t>(tile_floats + (plan.own_filters ? filter_floats : 0)) * sizeof(float),
                   .operands = std::move(operands)});
  return loops;
}

// Divides the work by output channels, for few tiles and many channels. The transformed filters would take four times
// the memory of the filters and would come from the L3 cache or from memory. Therefore each piece of work, which is a
// block of output channels for as many tiles as possible, transforms its own filters, a few input channels at a time.
// The transformed inputs are shared by all pieces.
std::vector<Loop> Winograd::loops_by_channels(const Problem& p, const Plan& plan, const Filters& from,
                                              const Tensor& shared_inputs) const {
  // One piece of the input transform covers this many tiles and input channels.
  constexpr int64_t kTiles = 4, kChannels = 64;
  const int64_t channel_parts = ceil_div(p.c, kChannels);
  const Matrices<float> in{shared_inputs.data<float>(), plan.input_point(), plan.input_row};
  const ByteRange in_range = range(in.data, plan.shared_floats());
  std::vector<Loop> loops;
  for (int64_t start = 0; start < p.tiles(); start += plan.shared_tiles) {
    const int64_t shared = std::min(plan.shared_tiles, p.tiles() - start);
    LoopOperands operands = operands_of(p);
    loops.push_back({.pieces = channel_parts * ceil_div(shared, kTiles),
                     .body =
                         [=, this](int64_t i, LoopWorker&) {
                           const int64_t begin = i / channel_parts * kTiles, c0 = i % channel_parts * kChannels;
                           loops_->transform_inputs(p, start + begin, std::min(kTiles, shared - begin), c0,
                                                    std::min(p.c, c0 + kChannels),
                                                    {in.data + begin * in.row_stride, in.point_stride, in.row_stride});
                         },
                     .operands = LoopOperands{{operands.reads[0]}, {in_range}}});
    operands.reads[0] = in_range;
    const auto body = [=, this](int64_t i, LoopWorker& worker) {
      auto* scratch = reinterpret_cast<float*>(worker.scratch);
      const Matrices<float> filters{scratch, plan.filter_point(), plan.width};
      const Matrices<float> products{scratch + kPoints * plan.filter_point(), plan.product_point(), plan.width};
      const int64_t k0 = i % plan.blocks * plan.width, begin = i / plan.blocks * plan.tile_block;
      const int64_t count = std::min(plan.tile_block, shared - begin);
      const int used = vectors_of(p, plan, k0);
      for (int64_t c0 = 0; c0 < p.c; c0 += plan.channels) {
        const int64_t c1 = std::min(p.c, c0 + plan.channels);
        for (int v = 0; v < used; ++v) {
          loops_->transform_filters(p, from, k0 + v * loops_->lanes, c0, c1,
                                    {scratch + v * loops_->lanes, plan.filter_point(), plan.width});
        }
        multiply_block(*loops_, p, start + begin, count, k0, k0 + plan.width, c1 - c0, used,
                       {in.data + begin * in.row_stride + c0, in.point_stride, in.row_stride}, filters, products,
                       c0 > 0, c1 == p.c);
      }
      loops_->transform_outputs(p, start + begin, count, k0, used, products);
    };
    loops.push_back(
        {.pieces = plan.blocks * ceil_div(shared, plan.tile_block),
         .body = body,
         .scratch = static_cast<size_t>(kPoints * (plan.filter_point() + plan.product_point())) * sizeof(float),
         .operands = std::move(operands)});
  }
  return loops;
}

void Winograd::forward(const Context& cx, const ConvGeometry& g, const float* x, const float* filter, const float* bias,
                       const float* add, ConvAct act, float* y) {
  Problem p = problem_of(g);
  p.x = x;
  p.bias = bias;
  p.add = add;
  p.act = act;
  p.y = y;
  run(cx, p, {.data = filter, .k_stride = 9 * g.ci, .c_stride = 1, .tap_stride = g.ci});
}

Tensor Winograd::forward_with_statistics(const Context& cx, const ConvGeometry& g, const float* x, const float* filter,
                                         float* y) {
  Problem p = problem_of(g);
  p.x = x;
  p.y = y;
  Tensor statistics = cx.empty({ceil_div(p.tiles(), loops_->rows), 4, p.k}, DType::f32);
  p.statistics = statistics.data<float>();
  run(cx, p, {.data = filter, .k_stride = 9 * g.ci, .c_stride = 1, .tap_stride = g.ci});
  return statistics;
}

void Winograd::backward_data(const Context& cx, const ConvGeometry& g, const float* dy, const float* filter,
                             float* dx) {
  Problem p = problem_of(mirrored(g));
  p.x = dy;
  p.y = dx;
  run(cx, p, {.data = filter, .k_stride = 1, .c_stride = 9 * g.ci, .tap_stride = g.ci, .rotated = true});
}

}  // namespace hr
