#include "ops/batch_norm.h"

#include <span>
#include <vector>

#include "core/comm/comm.h"
#include "ops/batch_norm_kernel.h"
#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/for_each.h"
#include "ops/trace.h"

namespace hr {

Normalised batch_norm(Context& cx, const Tensor& x, const BatchNormState& state, const Tensor& statistics) {
  check(x.rank() == 4, "batch_norm: expected x of [N, H, W, C], got {}", to_string(x.shape()));
  const int64_t channels = x.dim(3), rows = x.numel() / channels;
  check(state.weight.numel() == channels, "batch_norm: expected {} channels, got {}", state.weight.numel(), channels);
  Comm* ranks = cx.training && cx.sync_bn != nullptr && cx.sync_bn->size() > 1 ? cx.sync_bn : nullptr;
  check(!cx.training || rows > 1 || ranks != nullptr,
        "batch_norm: training needs more than one value per channel, got x of {}", to_string(x.shape()));

  Normalised out{.scale = cx.empty({channels}, DType::f32),
                 .shift = cx.empty({channels}, DType::f32),
                 .mean = cx.empty({channels}, DType::f32),
                 .inv_std = cx.empty({channels}, DType::f32),
                 .weight = state.weight,
                 .bias = state.bias,
                 .batch_statistics = cx.training};
  const NormalisedPointers p{.weight = state.weight.data<float>(),
                             .bias = state.bias.data<float>(),
                             .running_mean = state.running_mean.data<float>(),
                             .running_var = state.running_var.data<float>(),
                             .eps = state.eps,
                             .momentum = state.momentum,
                             .scale = out.scale.data<float>(),
                             .shift = out.shift.data<float>(),
                             .mean = out.mean.data<float>(),
                             .inv_std = out.inv_std.data<float>()};
  if (!cx.training) {
    for_columns(cx, 1, channels, RunningStatistics{p});
    if (cx.trace != nullptr) cx.trace->batch_norm(x, state, out);
    return out;
  }
  const auto finish = [&]<class Blocks>(const Blocks& blocks, int64_t parts) {
    if (ranks == nullptr) return for_columns(cx, parts, channels, BatchStatistics<Blocks>{blocks, p});
    const Tensor mine = cx.empty({3, channels}, DType::f64), all = cx.empty({ranks->size(), 3, channels}, DType::f64);
    for_columns(cx, parts, channels, RankStatistics<Blocks>{blocks, mine.data<double>()});
    ranks->all_gather(mine, all, cx.stream);
    out.ranks = ranks;
    out.count = cx.empty({channels}, DType::f64);
    for_columns(cx, ranks->size(), channels,
                MergedStatistics{all.data<double>(), channels, out.count.data<double>(), p});
  };
  if (statistics.defined()) {
    check(statistics.rank() == 3 && statistics.dim(1) == 4 && statistics.dim(2) == channels,
          "batch_norm: expected statistics of [parts, 4, {}], got {}", channels, to_string(statistics.shape()));
    finish(PartMoments{statistics.data<float>(), rows, channels}, statistics.dim(0));
    return out;
  }
  for_dtype("batch_norm", x.dtype(), [&]<class T>() {
    const int64_t block = block_rows(rows);
    const Partials partials = reduce_rows(cx, rows, channels, ShiftedMoments<T>{x.data<T>(), channels, block});
    finish(BlockMoments<T>{x.data<T>(), partials.sums.data<float>(), rows, channels, block}, partials.blocks);
  });
  return out;
}

namespace {
// Writes the scaled filter to `to`, which may be `filter`, and returns the bias.
Tensor fold(Context& cx, const Tensor& filter, const BatchNormState& state, const Tensor& to) {
  const int64_t channels = filter.dim(0), per_channel = filter.numel() / channels;
  Context inference = cx;
  inference.training = false;
  const Normalised n = batch_norm(inference, cx.empty({1, 1, 1, channels}, DType::f32), state);
  for_each(cx, channels, per_channel,
           ScaleFilter{filter.data<float>(), n.scale.data<float>(), to.data<float>(), per_channel});
  return n.shift;
}
}  // namespace

FoldedFilter fold_batch_norm(Context& cx, const Tensor& filter, const BatchNormState& state) {
  const Tensor folded = cx.empty(filter.shape(), DType::f32);
  return {folded, fold(cx, filter, state, folded)};
}

void fold_batch_norm_in_place(Context& cx, const Tensor& filter, const BatchNormState& state) {
  const Tensor bias = fold(cx, filter, state, filter);
  const auto fill = [&](const Tensor& t, float value) {
    const std::vector<float> values(static_cast<size_t>(t.numel()), value);
    cx.upload(t, std::as_bytes(std::span(values)));
  };
  copy_or_add(cx, bias, state.bias, false);
  fill(state.weight, 1);
  fill(state.running_mean, 0);
  fill(state.running_var, 1 - state.eps);
}

}  // namespace hr
