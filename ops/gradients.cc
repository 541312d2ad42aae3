#include "ops/gradients.h"

#include "core/error.h"
#include "ops/for_each.h"
#include "ops/gradients_kernel.h"
#include "ops/reduce_kernel.h"

namespace hr {
namespace {

void check_sizes(const Tensor& grad, const Tensor& sum, const Tensor& kept, const Tensor& loss) {
  check(sum.numel() == grad.numel() && kept.numel() == 1 && loss.numel() == 1,
        "gradients: expected a sum of {} elements, one count and one loss; got {}, {} and {}", grad.numel(),
        sum.numel(), kept.numel(), loss.numel());
}

}  // namespace

void clip_factor(Context& cx, const Tensor& grad, double most, const Tensor& loss, const Tensor& result) {
  constexpr int64_t columns = 16;
  check(grad.numel() > 0 && grad.numel() % columns == 0 && result.numel() == 3,
        "clip_factor: expected a multiple of {} elements and three results, got {} and {}", columns, grad.numel(),
        result.numel());
  const Partials partials =
      reduce_rows(cx, grad.numel() / columns, columns, SquaredGradient{grad.data<float>(), columns});
  const Tensor totals = cx.empty({columns}, DType::f64);
  for_columns(cx, partials.blocks, columns,
              ColumnTotalInDouble{partials.sums.data<float>(), columns, totals.data<double>()});
  float* out = result.data<float>();
  for_columns(cx, columns, 1,
              ClipFactor{.totals = totals.data<double>(),
                         .most = most,
                         .loss = loss.defined() ? loss.data<float>() : nullptr,
                         .norm = out,
                         .factor = out + 1,
                         .valid = out + 2});
}

void keep_gradient(Context& cx, const Tensor& grad, const Tensor& sum, const Tensor& kept, const Tensor& loss,
                   int64_t samples) {
  check_sizes(grad, sum, kept, loss);
  const auto n = static_cast<float>(samples);
  for_each_flat(cx, grad.numel(),
                KeepGradient{grad.data<float>(), sum.data<float>(), kept.data<float>(), loss.data<float>(), n});
  for_each_flat(cx, 1, CountKept{kept.data<float>(), loss.data<float>(), n, false});
}

void mean_of_kept(Context& cx, const Tensor& grad, const Tensor& sum, const Tensor& kept, const Tensor& loss,
                  int64_t samples) {
  check_sizes(grad, sum, kept, loss);
  const auto n = static_cast<float>(samples);
  for_each_flat(cx, grad.numel(),
                MeanOfKept{grad.data<float>(), sum.data<float>(), kept.data<float>(), loss.data<float>(), n});
  for_each_flat(cx, 1, CountKept{kept.data<float>(), loss.data<float>(), n, true});
}

void widen_gradients(Context& cx, HalfGradients& halves) {
  if (halves.marks != halves.uploaded) {
    cx.upload(halves.device_marks, std::as_bytes(std::span(halves.marks)));
    halves.uploaded = halves.marks;
  }
  for_each_flat(cx, halves.grads.numel(),
                WidenMarked{halves.half.data<bf16>(), halves.device_marks.data<uint8_t>(), halves.grads.data<float>()});
  std::fill(halves.marks.begin(), halves.marks.end(), uint8_t{0});
}

}  // namespace hr
