#include "ops/batch_norm.h"

#include <cmath>

#include "ops/batch_norm_kernel.h"
#include "ops/dispatch.h"

namespace hr {
namespace {

struct Moments {
  std::vector<double> mean, m2;  // m2: sum of squared deviations
};

template <class T>
Moments moments(const T* x, int64_t rows, int64_t channels) {
  const std::vector<float> partial = reduce_rows(rows, channels, ShiftedMoments<T>{x, channels});
  const int64_t blocks = static_cast<int64_t>(partial.size()) / (2 * channels);
  const auto count = [&](int64_t b) { return static_cast<double>(std::min(kBlockRows, rows - b * kBlockRows)); };
  Moments m{std::vector<double>(channels), std::vector<double>(channels)};
  for (int64_t b = 0; b < blocks; ++b) {
    const float* sums = partial.data() + b * 2 * channels;
    const T* first = x + b * kBlockRows * channels;
    for (int64_t c = 0; c < channels; ++c) m.mean[c] += count(b) * to_float(first[c]) + sums[c];
  }
  for (double& v : m.mean) v /= static_cast<double>(rows);
  for (int64_t b = 0; b < blocks; ++b) {
    const float* sums = partial.data() + b * 2 * channels;
    const T* first = x + b * kBlockRows * channels;
    const double n = count(b), inverse = 1.0 / n;
    for (int64_t c = 0; c < channels; ++c) {
      const double s = sums[c], offset = to_float(first[c]) + s * inverse - m.mean[c];
      m.m2[c] += sums[channels + c] - s * s * inverse + n * offset * offset;
    }
  }
  return m;
}

}  // namespace

Normalised batch_norm(Context& cx, const Tensor& x, const BatchNormState& state) {
  expect_cpu("batch_norm", cx);
  check(x.rank() == 4, "batch_norm: expected x of [N, H, W, C], got {}", to_string(x.shape()));
  const int64_t channels = x.dim(3), rows = x.numel() / channels;
  check(state.weight.numel() == channels, "batch_norm: expected {} channels, got {}", state.weight.numel(), channels);

  Normalised out{.scale = cx.empty({channels}, DType::f32),
                 .shift = cx.empty({channels}, DType::f32),
                 .mean = cx.empty({channels}, DType::f32),
                 .inv_std = cx.empty({channels}, DType::f32),
                 .weight = state.weight,
                 .bias = state.bias,
                 .batch_statistics = cx.training};
  float* running_mean = state.running_mean.data<float>();
  float* running_var = state.running_var.data<float>();
  std::vector<double> mean(channels), var(channels);
  if (cx.training) {
    check(rows > 1, "batch_norm: training needs more than one value per channel, got x of {}", to_string(x.shape()));
    Moments m;
    for_dtype("batch_norm", x.dtype(), [&]<class T>() { m = moments(x.data<T>(), rows, channels); });
    const auto n = static_cast<double>(rows);
    for (int64_t c = 0; c < channels; ++c) {
      mean[c] = m.mean[c];
      var[c] = m.m2[c] / n;
      running_mean[c] = static_cast<float>((1 - state.momentum) * running_mean[c] + state.momentum * mean[c]);
      running_var[c] = static_cast<float>((1 - state.momentum) * running_var[c] + state.momentum * m.m2[c] / (n - 1));
    }
  } else {
    for (int64_t c = 0; c < channels; ++c) {
      mean[c] = running_mean[c];
      var[c] = running_var[c];
    }
  }
  const float* weight = state.weight.data<float>();
  const float* bias = state.bias.data<float>();
  for (int64_t c = 0; c < channels; ++c) {
    const double inv_std = 1.0 / std::sqrt(var[c] + state.eps), scale = weight[c] * inv_std;
    out.mean.data<float>()[c] = static_cast<float>(mean[c]);
    out.inv_std.data<float>()[c] = static_cast<float>(inv_std);
    out.scale.data<float>()[c] = static_cast<float>(scale);
    out.shift.data<float>()[c] = static_cast<float>(bias[c] - mean[c] * scale);
  }
  return out;
}

}  // namespace hr
