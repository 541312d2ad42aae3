#include "ops/concat.h"

#include "ops/concat_kernel.h"
#include "ops/dispatch.h"
#include "ops/for_each.h"
#include "ops/trace.h"

namespace hr {

Tensor concat(Context& cx, std::span<const ConcatTerm> terms) {
  check(!terms.empty(), "concat: expected at least one term, got none");
  const Tensor& x0 = terms[0].x;
  check(x0.rank() == 4, "concat: expected terms of [N, H, W, C], got {}", to_string(x0.shape()));
  Shape shape{x0.dim(0), x0.dim(1) << terms[0].up, x0.dim(2) << terms[0].up, 0};
  for (const ConcatTerm& t : terms) {
    check(t.up >= 0 && t.up <= 3, "concat: upsampling by 2^{} is not in 2^0 .. 2^3", t.up);
    check(t.x.rank() == 4 && t.x.dtype() == x0.dtype() && t.x.dim(0) == shape[0] && t.x.dim(1) << t.up == shape[1] &&
              t.x.dim(2) << t.up == shape[2],
          "concat: a term upsampled {}x must give [{}, {}, {}, C] of {}, got {} of {}", 1 << t.up, shape[0], shape[1],
          shape[2], name_of(x0.dtype()), to_string(t.x.shape()), name_of(t.x.dtype()));
    check(!cx.recording() || !t.x.requires_grad(), "concat has no derivative; run it without a tape");
    shape[3] += t.x.dim(3);
  }
  const int64_t rows = shape[0] * shape[1] * shape[2];
  check(rows < int64_t{1} << 32, "concat: output {} has more than 2^32 pixels", to_string(shape));
  Tensor y = cx.empty(shape, x0.dtype());
  for_dtype("concat", y.dtype(), [&]<class T>() {
    int64_t first = 0;
    for (const ConcatTerm& t : terms) {
      const auto lanes = static_cast<int64_t>(16 / sizeof(T));
      const Operands operands(cx, {&t.x}, y);
      for_each(cx, rows, t.x.dim(3),
               ConcatForward<T>{.x = t.x.data<T>(),
                                .y = y.data<T>(),
                                .h = static_cast<uint32_t>(shape[1]),
                                .w = static_cast<uint32_t>(shape[2]),
                                .up = t.up,
                                .channels = t.x.dim(3),
                                .first = first,
                                .total = shape[3],
                                .aligned = first % lanes == 0 && shape[3] % lanes == 0});
      first += t.x.dim(3);
    }
  });
  if (cx.trace != nullptr) cx.trace->concat(terms, y);
  return y;
}

void put_pixels(Context& cx, const Tensor& x, const Tensor& table, const TablePart& part) {
  check(x.rank() == 4 && x.dtype() == DType::f32, "put_pixels: expected x of [N, H, W, C] f32, got {} of {}",
        to_string(x.shape()), name_of(x.dtype()));
  const int64_t pixels = x.dim(1) * x.dim(2), channels = x.dim(3);
  check(table.rank() == 3 && table.dtype() == DType::f32 && table.dim(0) == x.dim(0) && part.first_row >= 0 &&
            part.first_column >= 0 && part.first_row + pixels <= table.dim(1) &&
            part.first_column + channels <= table.dim(2),
        "put_pixels: {} does not fit into {} at row {}, column {}", to_string(x.shape()), to_string(table.shape()),
        part.first_row, part.first_column);
  const PutPixels put{.x = x.data<float>(),
                      .table = table.data<float>(),
                      .pixels = pixels,
                      .channels = channels,
                      .anchors = table.dim(1),
                      .columns = table.dim(2),
                      .first_row = part.first_row,
                      .first_column = part.first_column,
                      .plain = part.plain};
  if (cx.loops != nullptr && x.dim(0) == 1) {
    // The rows of one picture follow each other, so the loop can continue the chain of the convolution before it.
    const PixelPieces pieces(pixels, compute_threads());
    const ByteRange rows = bytes_of(table).subspan(static_cast<size_t>(part.first_row * table.dim(2)) * sizeof(float),
                                                   static_cast<size_t>(pixels * table.dim(2)) * sizeof(float));
    cx.loops->add(
        {.pieces = pieces.count,
         .body = [put, pieces, channels](
                     int64_t i, LoopWorker&) { detail::for_rows(put, pieces.begin(i), pieces.begin(i + 1), channels); },
         .pixels = pixels,
         .operands = LoopOperands{.writes = {rows}, .reads_own_pixels = {bytes_of(x)}}});
  } else {
    const Operands operands(cx, {&x}, table);
    for_each(cx, x.dim(0) * pixels, channels, put);
  }
  if (cx.trace != nullptr) cx.trace->put_pixels(x, table, part);
}

}  // namespace hr
