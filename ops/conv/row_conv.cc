#include "ops/conv/row_conv.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"
#include "core/loop_graph.h"
#include "core/parallel.h"

namespace hr {

using row_conv::Outputs;
using row_conv::Term;

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

constexpr int64_t kMostTerms = 8;
constexpr int64_t kProducts = 32;  // So many products take as long as an element in the estimate of parallel_for.

ByteRange bytes_at(const float* x, int64_t count) {
  return {reinterpret_cast<const std::byte*>(x), static_cast<size_t>(count) * sizeof *x};
}

bool is_plain_1x1(const ConvGeometry& g) { return g.kh == 1 && g.kw == 1 && g.stride == 1 && g.pad == 0; }

}  // namespace

RowConv::RowConv(CpuLevel level) : loops_(row_conv::loops_at(level)) {}

bool RowConv::supports(const ConvGeometry& g) const {
  constexpr int64_t kFewChannels = 4;
  return loops_ != nullptr && !g.transposed && g.src == DType::f32 && g.dst == DType::f32 &&
         (is_plain_1x1(g) || (g.ci <= kFewChannels && g.kh <= kMostTerms));
}

// Returns these columns of the filter as the loops read them: for each block of output channels, one row for each
// column. If `packed` is given, the result is kept there under the name `part`.
Tensor RowConv::pack(const ConvGeometry& g, const float* filter, const Columns& columns, const char* part,
                     PackedFilters* packed) const {
  if (packed != nullptr) {
    const auto found = packed->by_layout.find(part);
    if (found != packed->by_layout.end()) return found->second;
  }
  const int64_t lanes = loops_->lanes, row = g.kh * g.kw * g.ci, padded = round_up(g.co, lanes);
  Context cx;
  if (packed != nullptr) cx.allocator = packed->allocator;
  Tensor to = cx.zeros({columns.count, padded}, DType::f32);
  for (int64_t k = 0; k < g.co; ++k) {
    const int64_t k0 = k / (2 * lanes) * 2 * lanes, width = std::min(2 * lanes, padded - k0);
    float* out = to.data<float>() + k0 * columns.count + (k - k0);
    for (const auto& [begin, end] : columns.ranges) {
      for (int64_t i = begin; i < end; ++i, out += width) *out = filter[k * row + i];
    }
  }
  if (packed != nullptr) packed->by_layout.emplace(part, to);
  return to;
}

// Computes a run of pixels on this thread.
void RowConv::multiply(std::span<const Term> terms, int64_t pixels, const float* filters, Outputs to) const {
  const int64_t lanes = loops_->lanes;
  int64_t depth = 0;
  for (const Term& term : terms) depth += term.depth;
  for (int64_t k0 = 0; k0 < to.k; k0 += 2 * lanes) {
    loops_->multiply(terms, pixels, filters + k0 * depth, k0, to.k - k0 > lanes ? 2 : 1, to);
  }
}

// Divides a long run of pixels among the threads. A thread takes neighbouring pieces, which the next convolution reads
// on the same thread.
void RowConv::multiply_pieces(const Context& cx, std::span<const Term> terms, int64_t pixels, const Tensor& filters,
                              const Outputs& to) const {
  const PixelPieces pieces(pixels, compute_threads());
  int64_t depth = 0;
  std::array<Term, kMostTerms> all;
  std::ranges::copy(terms, all.begin());
  LoopOperands operands{.writes = {bytes_at(to.y, pixels * to.k)}};
  for (const Term& term : terms) {
    depth += term.depth;
    operands.reads_own_pixels.push_back(bytes_at(term.x, pixels * term.step));
  }
  if (to.add != nullptr) operands.reads_own_pixels.push_back(bytes_at(to.add, pixels * to.k));
  if (to.coarse != nullptr) operands.reads.push_back(bytes_at(to.coarse, (pixels >> 2 * to.up) * to.k));
  const auto body = [this, all, count = terms.size(), pieces, filters, to](int64_t piece) {
    const int64_t begin = pieces.begin(piece), end = pieces.begin(piece + 1);
    if (begin == end) return;
    Term own[kMostTerms];
    for (size_t i = 0; i < count; ++i) own[i] = {all[i].x + begin * all[i].step, all[i].step, all[i].depth};
    Outputs part = to;
    part.y += begin * to.k;
    if (to.add != nullptr) part.add += begin * to.k;
    part.first_pixel += begin;
    multiply(std::span(own, count), end - begin, filters.data<float>(), part);
  };
  if (cx.loops == nullptr) return parallel_for(pieces.count, pixels * depth * to.k / kProducts, body);
  cx.loops->add({.pieces = pieces.count,
                 .body = [body](int64_t piece, LoopWorker&) { body(piece); },
                 .pixels = pixels,
                 .operands = std::move(operands)});
}

// Computes any convolution. A piece of work is a few rows of outputs. It copies the rows of inputs that it needs with
// their padding.
void RowConv::multiply_rows(const Context& cx, const ConvGeometry& g, const float* x, const Tensor& filters,
                            const Outputs& to) {
  constexpr int64_t kRows = 8;
  const int64_t out_h = g.out_h(), out_w = g.out_w(), parts = ceil_div(out_h, kRows), pieces = g.n * parts;
  const int64_t row = g.w * g.ci, padded = (g.w + 2 * g.pad) * g.ci;
  const auto scratch = static_cast<size_t>(((kRows - 1) * g.stride + g.kh) * padded);
  const auto body = [this, g, x, filters, to, parts, out_h, out_w, row, padded](int64_t piece, float* rows) {
    const int64_t n = piece / parts, y0 = piece % parts * kRows, y1 = std::min(out_h, y0 + kRows);
    const int64_t top = y0 * g.stride - g.pad, count = (y1 - y0 - 1) * g.stride + g.kh;
    for (int64_t i = 0; i < count; ++i) {
      float* out = rows + i * padded;
      const bool exists = top + i >= 0 && top + i < g.h;
      if (exists) std::memcpy(out + g.pad * g.ci, x + (n * g.h + top + i) * row, static_cast<size_t>(row) * sizeof *x);
      std::fill_n(out, exists ? g.pad * g.ci : padded, 0.0F);
      std::fill_n(out + g.pad * g.ci + row, g.pad * g.ci, 0.0F);
    }
    Term terms[kMostTerms];
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t i = 0; i < g.kh; ++i)
        terms[i] = {rows + ((y - y0) * g.stride + i) * padded, g.stride * g.ci, g.kw * g.ci};
      const int64_t at = (n * out_h + y) * out_w * g.co;
      Outputs part = to;
      part.y += at;
      if (to.add != nullptr) part.add += at;
      multiply(std::span(terms, static_cast<size_t>(g.kh)), out_w, filters.data<float>(), part);
    }
  };
  if (cx.loops != nullptr) {
    LoopOperands operands{.reads = {bytes_at(x, g.n * g.h * row)},
                          .writes = {bytes_at(to.y, g.n * out_h * out_w * g.co)}};
    if (to.add != nullptr) operands.reads.push_back(bytes_at(to.add, g.n * out_h * out_w * g.co));
    cx.loops->add(
        {.pieces = pieces,
         .body = [body](int64_t piece, LoopWorker& worker) { body(piece, reinterpret_cast<float*>(worker.scratch)); },
         .scratch = scratch * sizeof(float),
         .operands = std::move(operands)});
    return;
  }
  const auto threads = static_cast<size_t>(compute_threads());
  if (of_thread_.size() < threads) of_thread_.resize(threads);
  for (auto& memory : of_thread_) memory.resize(std::max(memory.size(), scratch));
  parallel_for(pieces, g.n * out_h * out_w * g.co * g.kh * g.kw * g.ci / kProducts,
               [&](int64_t piece) { body(piece, of_thread_[static_cast<size_t>(omp_get_thread_num())].data()); });
}

void RowConv::forward(const Context& cx, const ConvGeometry& g, const float* x, const float* filter, const float* bias,
                      const float* add, ConvAct act, float* y, PackedFilters* packed) {
  Columns all;
  all.add(0, g.kh * g.kw * g.ci);
  const Tensor filters = pack(g, filter, all, "rows", packed);
  const Outputs to{.bias = bias, .add = add, .act = act, .y = y, .k = g.co};
  if (!is_plain_1x1(g)) return multiply_rows(cx, g, x, filters, to);
  const Term term{x, g.ci, g.ci};
  multiply_pieces(cx, std::span(&term, 1), g.n * g.h * g.w, filters, to);
}

// The products of an input with fewer pixels are computed once for each of its pixels, because the upsampling to the
// nearest neighbour and a 1x1 convolution may be exchanged.
void RowConv::forward_joined(const Context& cx, const ConvGeometry& g, std::span<const ConvInput> inputs,
                             const float* filter, const float* bias, ConvAct act, float* y, PackedFilters* packed) {
  check(inputs.size() <= kMostTerms, "conv2d of {} joined inputs; at most {} are possible", inputs.size(), kMostTerms);
  std::vector<Term> fine, coarse;
  Columns fine_columns, coarse_columns;
  int up = 0;
  int64_t first = 0;
  for (const ConvInput& in : inputs) {
    check(in.up == 0 || up == 0 || in.up == up, "conv2d of joined inputs: upsampling by 2^{} and by 2^{}", up, in.up);
    up = std::max(up, in.up);
    (in.up > 0 ? coarse : fine).push_back({static_cast<const float*>(in.x), in.channels, in.channels});
    (in.up > 0 ? coarse_columns : fine_columns).add(first, first + in.channels);
    first += in.channels;
  }
  Outputs to{.bias = bias, .act = act, .y = y, .k = g.co, .w = g.w, .up = up};
  Tensor sums;
  if (!coarse.empty()) {
    const Tensor filters = pack(g, filter, coarse_columns, "coarse rows", packed);
    const int64_t pixels = g.n * (g.h >> up) * (g.w >> up);
    sums = cx.empty({pixels, g.co}, DType::f32);
    multiply_pieces(cx, coarse, pixels, filters, {.y = sums.data<float>(), .k = g.co});
    to.coarse = sums.data<float>();
  }
  const Tensor filters = pack(g, filter, fine_columns, "fine rows", packed);
  multiply_pieces(cx, fine, g.n * g.h * g.w, filters, to);
}

}  // namespace hr
