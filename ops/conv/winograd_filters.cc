// The gradient of the filters by Winograd's method.
#include <omp.h>

#include <algorithm>

#include "core/parallel.h"
#include "ops/conv/winograd.h"
#include "ops/conv/winograd_sizes.h"

namespace hr {

using winograd::ceil_div;
using winograd::kPoints;
using winograd::Matrices;
using winograd::Problem;
using winograd::problem_of;
using winograd::round_up;
using winograd::spread;

// The transformed tiles of a gradient of filters, and the sums of their products.
struct Winograd::FilterPlan {
  int64_t lanes, width, blocks;        // A block has `width` input channels.
  int64_t in_row, out_row, sum_point;  // A row of inputs or gradients at one point; the sums at one point.

  FilterPlan(const Problem& p, int64_t vector)
      : lanes(vector),
        width(2 * vector),
        blocks(ceil_div(p.c, width)),
        in_row(round_up(p.c, vector)),
        out_row(round_up(p.k, vector)),
        sum_point(spread(p.k * in_row)) {}
  int vectors(const Problem& p, int64_t c0) const {
    return static_cast<int>(ceil_div(std::min(width, p.c - c0), lanes));
  }
  // With few channels and many tiles the sums of one thread fit into its L2 cache beside the tiles that it transforms.
  // The tiles are then divided into this many strands, whose sums are added in their order. The number depends on the
  // shape alone, and so do the bits. 1 stands for rounds of all threads together.
  int64_t strands(const Problem& p) const {
    constexpr int64_t kSums = 152 << 10, kTiles = 96, kFewest = 4, kMost = 8;
    const int64_t count = std::min(p.tiles() / kTiles, kMost);
    return kPoints * sum_point <= kSums && count >= kFewest ? count : 1;
  }
};

void Winograd::backward_filter(const ConvGeometry& g, const float* x, const float* dy, float* dfilter) {
  Problem p = problem_of(g);
  p.x = x;
  const FilterPlan plan(p, loops_->lanes);
  const int64_t strands = plan.strands(p);
  const Matrices<float> sums{filters_.get(strands * kPoints * plan.sum_point), plan.sum_point, plan.in_row};
  strands > 1 ? filters_by_strands(p, plan, dy, strands, sums) : filters_by_rounds(p, plan, dy, sums);
  constexpr int64_t kFilters = 8;  // One piece of the final transform covers this many filters.
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < ceil_div(p.k, kFilters); ++i) {
    loops_->finish_filters(p, i * kFilters, std::min(p.k, (i + 1) * kFilters), sums, dfilter);
  }
}

// A piece of work is a strand: a thread transforms some of its tiles and multiplies them while they are in its cache.
void Winograd::filters_by_strands(const Problem& p, const FilterPlan& plan, const float* dy, int64_t strands,
                                  Matrices<float> sums) {
  constexpr int64_t kCache = 224 << 10, kFewest = 12, kMost = 48;  // So many floats, and so many tiles at a time.
  const int64_t numbers = kPoints * plan.sum_point;
  const int64_t tiles = std::clamp((kCache - numbers) / (kPoints * (plan.in_row + plan.out_row)), kFewest, kMost);
  const int64_t in_point = spread(tiles * plan.in_row), out_point = spread(tiles * plan.out_row);
  const auto threads = static_cast<size_t>(compute_threads());
  if (of_thread_.size() < threads) of_thread_.resize(threads);
#pragma omp parallel
  {
    float* const scratch = of_thread_[static_cast<size_t>(omp_get_thread_num())].get(kPoints * (in_point + out_point));
    const Matrices<float> in{scratch, in_point, plan.in_row};
    const Matrices<float> out{scratch + kPoints * in_point, out_point, plan.out_row};
#pragma omp for schedule(dynamic)
    for (int64_t s = 0; s < strands; ++s) {
      const int64_t begin = p.tiles() * s / strands, end = p.tiles() * (s + 1) / strands;
      for (int64_t first = begin; first < end; first += tiles) {
        const int64_t count = std::min(tiles, end - first);
        loops_->transform_inputs(p, first, count, 0, p.c, in);
        loops_->transform_gradients(p, dy, first, count, 0, p.k, out);
        for (int64_t c0 = 0; c0 < p.c; c0 += plan.width) {
          loops_->multiply_transposed(
              kPoints, p.k, count, plan.vectors(p, c0), out, {in.data + c0, in.point_stride, in.row_stride},
              {sums.data + s * numbers + c0, sums.point_stride, sums.row_stride}, first > begin);
        }
      }
    }
#pragma omp for schedule(static)
    for (int64_t point = 0; point < kPoints; ++point) {
      float* to = sums.data + point * plan.sum_point;
      for (int64_t s = 1; s < strands; ++s) {
        for (int64_t i = 0; i < p.k * plan.in_row; ++i) to[i] += to[s * numbers + i];
      }
    }
  }
}

// Proceeds in rounds of as many tiles as fit into the L3 cache. A round first transforms the inputs and the gradients
// of its tiles. Then each piece of work, which is one point and a block of input channels, adds the contributions of
// these tiles to its filters.
void Winograd::filters_by_rounds(const Problem& p, const FilterPlan& plan, const float* dy, Matrices<float> sums) {
  // One piece of the transforms covers this many tiles and channels.
  constexpr int64_t kTiles = 4, kChannels = 64;
  constexpr int64_t kSharedFloats = 1 << 20;
  const int64_t in_row = plan.in_row, out_row = plan.out_row;
  const int64_t round = std::min(p.tiles(), std::max<int64_t>(kSharedFloats / (kPoints * (in_row + out_row)), 32));
  const int64_t in_point = spread(round * in_row), out_point = spread(round * out_row);
  const Matrices<float> in{inputs_.get(kPoints * (in_point + out_point)), in_point, in_row};
  const Matrices<float> out{in.data + kPoints * in_point, out_point, out_row};
  const int64_t in_parts = ceil_div(p.c, kChannels), out_parts = ceil_div(p.k, kChannels);
  const int64_t parts = in_parts + out_parts;
#pragma omp parallel
  {
    for (int64_t start = 0; start < p.tiles(); start += round) {
      const int64_t count = std::min(round, p.tiles() - start);
#pragma omp for schedule(dynamic)
      for (int64_t i = 0; i < parts * ceil_div(count, kTiles); ++i) {
        const int64_t begin = i / parts * kTiles, part = i % parts, tiles = std::min(kTiles, count - begin);
        if (part < in_parts) {
          const int64_t c0 = part * kChannels;
          loops_->transform_inputs(p, start + begin, tiles, c0, std::min(p.c, c0 + kChannels),
                                   {in.data + begin * in_row, in_point, in_row});
        } else {
          const int64_t k0 = (part - in_parts) * kChannels;
          loops_->transform_gradients(p, dy, start + begin, tiles, k0, std::min(p.k, k0 + kChannels),
                                      {out.data + begin * out_row, out_point, out_row});
        }
      }
#pragma omp for schedule(dynamic)
      for (int64_t i = 0; i < kPoints * plan.blocks; ++i) {
        const int64_t point = i / plan.blocks, c0 = i % plan.blocks * plan.width;
        loops_->multiply_transposed(1, p.k, count, plan.vectors(p, c0),
                                    {out.data + point * out_point, out_point, out_row},
                                    {in.data + point * in_point + c0, in_point, in_row},
                                    {sums.data + point * plan.sum_point + c0, plan.sum_point, in_row}, start > 0);
      }
    }
  }
}

}  // namespace hr
