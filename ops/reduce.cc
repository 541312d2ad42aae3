#include "ops/reduce.h"

#include "ops/dispatch.h"
#include "ops/for_each.h"
#include "ops/reduce_kernel.h"

namespace hr {

void column_sum(Context& cx, const Tensor& x, const Tensor& y) {
  const int64_t channels = x.shape().back(), rows = x.numel() / channels;
  check(y.numel() == channels && y.dtype() == DType::f32, "column_sum: {} into {}", to_string(x.shape()),
        to_string(y.shape()));
  for_dtype("column_sum", x.dtype(), [&]<class T>() {
    const Partials partials = reduce_rows(cx, rows, channels, ColumnSum<T>{x.data<T>(), channels});
    for_columns(cx, partials.blocks, channels, ColumnTotal{partials.sums.data<float>(), channels, y.data<float>()});
  });
}

}  // namespace hr
