#include "ops/mse.h"

#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/for_each.h"
#include "ops/mse_kernel.h"
#include "ops/reduce_kernel.h"

namespace hr {

// loss = (1 / n) sum (p - t)^2, summed by columns in float32 over blocks of rows and in double over blocks and columns.
// dp = (2 / n) (p - t) dloss
Tensor mse(Context& cx, const Tensor& pred, const Tensor& target) {
  check(pred.shape() == target.shape() && target.dtype() == DType::f32, "mse: prediction {} and target {} of {} differ",
        to_string(pred.shape()), to_string(target.shape()), name_of(target.dtype()));
  check(pred.numel() > 0, "mse: {} has no elements to take the mean of", to_string(pred.shape()));
  check(!target.requires_grad(), "mse: the target has no gradient; give what learns as the first argument");
  const int64_t n = pred.numel(), channels = pred.rank() > 1 ? pred.shape().back() : 1;
  Tensor loss = cx.empty({1}, DType::f32);
  for_dtype("mse", pred.dtype(), [&]<class T>() {
    const Partials partials =
        reduce_rows(cx, n / channels, channels, SquaredDifference<T>{pred.data<T>(), target.data<float>(), channels});
    const Tensor totals = cx.empty({channels}, DType::f64);
    for_columns(cx, partials.blocks, channels,
                ColumnTotalInDouble{partials.sums.data<float>(), channels, totals.data<double>()});
    for_columns(cx, channels, 1, ScaledTotal{totals.data<double>(), 1.0 / static_cast<double>(n), loss.data<float>()});
  });
  if (!cx.recording() || !pred.requires_grad()) return loss;
  loss.set_requires_grad(true);
  cx.tape->record([pred, target, n, id = loss.id()](Context& bx) {
    const Tensor dloss = take_gradient(bx, id);
    if (!dloss.defined()) return;
    const Tensor dpred = bx.empty(pred.shape(), pred.dtype());
    for_dtype("mse", pred.dtype(), [&]<class T>() {
      for_each_flat(bx, n,
                    SquaredDifferenceBackward<T>{.pred = pred.data<T>(),
                                                 .target = target.data<float>(),
                                                 .dpred = dpred.data<T>(),
                                                 .two_over_n = static_cast<float>(2.0 / static_cast<double>(n)),
                                                 .dloss = dloss.data<float>()});
    });
    add_gradient(bx, pred, dpred);
  });
  return loss;
}

}  // namespace hr
