#include "ops/joints_loss.h"

#include <numeric>

#include "ops/dispatch.h"
#include "ops/joints_loss_kernel.h"
#include "ops/sum.h"

namespace hr {

Tensor joints_loss(Context& cx, const Tensor& pred, const Tensor& target, const Tensor& joint_weight, JointsLoss kind) {
  expect_cpu("joints_loss", cx);
  check(pred.rank() == 4 && target.shape() == pred.shape() && target.dtype() == DType::f32,
        "joints_loss: prediction {} and target {} of {} differ", to_string(pred.shape()), to_string(target.shape()),
        name_of(target.dtype()));
  const int64_t n = pred.dim(0), pixels = pred.dim(1) * pred.dim(2), joints = pred.dim(3);
  check(joint_weight.shape() == Shape{n, joints} && joint_weight.dtype() == DType::f32,
        "joints_loss: expected weights [{}, {}] f32, got {}", n, joints, to_string(joint_weight.shape()));

  Tensor weight = joint_weight;
  double scale = 1.0 / static_cast<double>(n * pixels);
  if (kind == JointsLoss::official) {
    scale *= 0.5 / static_cast<double>(joints);
    weight = cx.empty(joint_weight.shape(), DType::f32);
    for (int64_t i = 0; i < n * joints; ++i) {
      const float w = joint_weight.data<float>()[i];
      weight.data<float>()[i] = w * w;
    }
  }
  Tensor loss = cx.empty({1}, DType::f32);
  for_dtype("joints_loss", pred.dtype(), [&]<class T>() {
    const SquaredError<T> f{pred.data<T>(), target.data<float>(), weight.data<float>(), pixels, joints};
    const std::vector<double> sums = merge_blocks(reduce_rows(n * pixels, joints, f), joints);
    *loss.data<float>() = static_cast<float>(scale * std::accumulate(sums.begin(), sums.end(), 0.0));
  });

  if (cx.recording() && pred.requires_grad()) {
    loss.set_requires_grad(true);
    cx.tape->record([=, id = loss.id()](Context& bx) {
      const Tensor dloss = take_gradient(bx, id);
      if (!dloss.defined()) return;
      const Tensor dpred = bx.empty(pred.shape(), pred.dtype());
      const auto factor = static_cast<float>(2 * scale * *dloss.data<float>());
      for_dtype("joints_loss", pred.dtype(), [&]<class T>() {
        for_each(n * pixels, joints,
                 SquaredErrorBackward<T>{pred.data<T>(), target.data<float>(), weight.data<float>(), dpred.data<T>(),
                                         pixels, joints, factor});
      });
      bx.tape->add(pred, dpred);
    });
  }
  return loss;
}

}  // namespace hr
