#include "ops/joints_loss.h"

#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/for_each.h"
#include "ops/joints_loss_kernel.h"
#include "ops/reduce_kernel.h"

namespace hr {

Tensor joints_loss(Context& cx, const Tensor& pred, const Tensor& target, const Tensor& joint_weight, JointsLoss kind) {
  check(pred.rank() == 4 && target.shape() == pred.shape() && target.dtype() == DType::f32,
        "joints_loss: prediction {} and target {} of {} differ", to_string(pred.shape()), to_string(target.shape()),
        name_of(target.dtype()));
  const int64_t n = pred.dim(0), pixels = pred.dim(1) * pred.dim(2), joints = pred.dim(3);
  check(joint_weight.shape() == Shape{n, joints} && joint_weight.dtype() == DType::f32,
        "joints_loss: expected weights [{}, {}] f32, got {}", n, joints, to_string(joint_weight.shape()));

  const bool squared = kind == JointsLoss::official;
  double scale = 1.0 / static_cast<double>(n * pixels);
  if (squared) scale *= 0.5 / static_cast<double>(joints);
  Tensor loss = cx.empty({1}, DType::f32);
  for_dtype("joints_loss", pred.dtype(), [&]<class T>() {
    const SquaredError<T> f{pred.data<T>(), target.data<float>(), joint_weight.data<float>(), pixels, joints, squared};
    const Partials partials = reduce_rows(cx, n * pixels, joints, f);
    const Tensor totals = cx.empty({joints}, DType::f64);
    for_columns(cx, partials.blocks, joints,
                ColumnTotalInDouble{partials.sums.data<float>(), joints, totals.data<double>()});
    for_columns(cx, joints, 1, ScaledTotal{totals.data<double>(), scale, loss.data<float>()});
  });

  if (cx.recording() && pred.requires_grad()) {
    loss.set_requires_grad(true);
    cx.tape->record([=, id = loss.id()](Context& bx) {
      const Tensor dloss = take_gradient(bx, id);
      if (!dloss.defined()) return;
      const Tensor dpred = bx.empty(pred.shape(), pred.dtype());
      for_dtype("joints_loss", pred.dtype(), [&]<class T>() {
        for_each(
            bx, n * pixels, joints,
            SquaredErrorBackward<T>{pred.data<T>(), target.data<float>(), joint_weight.data<float>(), dpred.data<T>(),
                                    pixels, joints, squared, static_cast<float>(2 * scale), dloss.data<float>()});
      });
      add_gradient(bx, pred, dpred);
    });
  }
  return loss;
}

}  // namespace hr
