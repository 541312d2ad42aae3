#include "ops/conv/pixel_products.h"

#include <algorithm>

#include "core/parallel.h"

namespace hr {

using pixel_products::Area;

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The outputs [begin, end) of a dimension for which tap `tap` reads inside of the input.
struct Span {
  int64_t begin, end;
  Span(const ConvGeometry& g, int64_t tap, int64_t in, int64_t first, int64_t last)
      : begin(std::max(first, ceil_div(std::max<int64_t>(0, g.pad - tap), g.stride))),
        end(std::min(last, in + g.pad > tap ? (in - 1 + g.pad - tap) / g.stride + 1 : 0)) {}
};

}  // namespace

// A piece of work: some rows of outputs, counted through all pictures, and some of the blocks of columns of the result,
// which is a matrix [co, kh kw ci].
struct PixelProducts::Piece {
  int64_t first_row, last_row;
  int64_t first_block, last_block;
};

PixelProducts::PixelProducts(CpuLevel level) : loops_(pixel_products::loops_at(level)) {}

bool PixelProducts::supports(const ConvGeometry& g) const {
  return loops_ != nullptr && !g.transposed && g.src == DType::f32 && g.dst == DType::f32 && g.ci % loops_->lanes == 0;
}

// Proceeds in bands of rows, whose inputs and gradients stay in the L2 cache while all channels are multiplied.
void PixelProducts::compute(const ConvGeometry& g, const float* x, const float* dy, const Piece& piece,
                            float* sums) const {
  constexpr int64_t kPixels = 128;  // A band has at least this many pixels, unless the picture ends.
  const int64_t out_h = g.out_h(), out_w = g.out_w(), row = g.kh * g.kw * g.ci;
  const int64_t width = 2 * loops_->lanes, blocks = ceil_div(g.ci, width), band = ceil_div(kPixels, out_w);
  for (int64_t first = piece.first_row, next = 0; first < piece.last_row; first = next) {
    const int64_t image = first / out_h, y0 = first % out_h;
    next = std::min({first + band, piece.last_row, (image + 1) * out_h});
    const int64_t y1 = y0 + next - first;
    for (int64_t i = piece.first_block; i < piece.last_block; ++i) {
      const int64_t tap = i / blocks, c0 = i % blocks * width, ty = tap / g.kw, tx = tap % g.kw;
      const Span ys(g, ty, g.h, y0, y1), xs(g, tx, g.w, 0, out_w);
      const Area area{.rows = std::max<int64_t>(0, ys.end - ys.begin),
                      .columns = std::max<int64_t>(0, xs.end - xs.begin),
                      .left_row = out_w * g.co,
                      .left_step = g.co,
                      .right_row = g.stride * g.w * g.ci,
                      .right_step = g.stride * g.ci};
      const bool any = area.rows > 0 && area.columns > 0, accumulate = first > piece.first_row;
      if (!any && accumulate) continue;
      // Without a pixel the sums become zero, and the addresses are not used.
      const float *left = dy, *right = x;
      if (any) {
        left += ((image * out_h + ys.begin) * out_w + xs.begin) * g.co;
        right += ((image * g.h + ys.begin * g.stride - g.pad + ty) * g.w + xs.begin * g.stride - g.pad + tx) * g.ci;
      }
      loops_->multiply(area, left, g.co, right + c0, g.ci - c0 > loops_->lanes ? 2 : 1, sums + tap * g.ci + c0, row,
                       accumulate);
    }
  }
}

// The rows of outputs are divided into strands, whose sums are added in their order. The number of strands depends on
// the shape alone, so the result does not depend on the threads.
void PixelProducts::backward_filter(const Context& cx, const ConvGeometry& g, const float* x, const float* dy,
                                    float* dfilter) const {
  constexpr int64_t kPixels = 1536, kMostStrands = 16;
  constexpr int64_t kManyStrands = 8;  // These are enough pieces of work for the threads.
  constexpr int64_t kNumbers = 4096;   // A piece of the final sum has this many.
  const int64_t rows = g.n * g.out_h(), numbers = g.co * g.kh * g.kw * g.ci;
  const int64_t strands = std::clamp<int64_t>(std::min(rows, rows * g.out_w() / kPixels), 1, kMostStrands);
  const int64_t blocks = g.kh * g.kw * ceil_div(g.ci, 2 * loops_->lanes), parts = strands < kManyStrands ? blocks : 1;
  Tensor others;  // The sums of all strands but the first.
  if (strands > 1) others = cx.empty({strands - 1, numbers}, DType::f32);
  const float* more = strands > 1 ? others.data<float>() : nullptr;
#pragma omp parallel
  {
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < strands * parts; ++i) {
      const int64_t s = i / parts, part = i % parts;
      const Piece piece{rows * s / strands, rows * (s + 1) / strands, blocks * part / parts,
                        blocks * (part + 1) / parts};
      compute(g, x, dy, piece, s == 0 ? dfilter : others.data<float>() + (s - 1) * numbers);
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < (strands > 1 ? ceil_div(numbers, kNumbers) : 0); ++i) {
      const int64_t end = std::min(numbers, (i + 1) * kNumbers);
      for (int64_t s = 0; s + 1 < strands; ++s) {
        for (int64_t j = i * kNumbers; j < end; ++j) dfilter[j] += more[s * numbers + j];
      }
    }
  }
}

}  // namespace hr
