// The gradient of batch norm with one number per channel less (HRNET_NORM_BACKWARD=folded). It rounds otherwise than
// the usual form, so both are compared with the formula in double, also where means are large beside deviations.
#include "core/gpu_switches.h"
#include "ops/fuse.h"
#include "tests/gpu/pair.h"
#include "tests/support/switched.h"

namespace hr {
namespace {

using test::Values;

class GpuNormBackward : public test::Gpu {};

struct Problem {
  DType dtype;
  double mean;  // Beside deviations of about 1.
  bool relu;
  static constexpr int64_t kChannels = 24, kRows = 4 * 17 * 15;
  Shape shape() const { return {4, 17, 15, kChannels}; }
};

// Returns the largest error of the gradient of x, in units of |scale| times the largest |dz| of the channel. `stored`
// is the error that rounding the exact gradient to the type of x would have, in the same unit.
struct Error {
  double largest = 0, stored = 0;
};

// dx = scale (dz - mean(dz) - xhat mean(dz xhat)) of one channel.
Error error_of_channel(const Values& x, const Values& dz, const Values& dx, double weight, DType t) {
  const auto n = static_cast<double>(x.size());
  double mean = 0, variance = 0, dz_sum = 0, dz_x = 0, largest_dz = 0;
  for (const double v : x) mean += v / n;
  for (const double v : x) variance += (v - mean) * (v - mean) / n;
  for (size_t i = 0; i < x.size(); ++i) {
    dz_sum += dz[i];
    dz_x += dz[i] * (x[i] - mean);
    largest_dz = std::max(largest_dz, std::abs(dz[i]));
  }
  const double inverse = 1 / std::sqrt(variance + 1e-5), scale = weight * inverse;
  Error error;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = scale * (dz[i] - dz_sum / n - (x[i] - mean) * inverse * inverse * dz_x / n);
    error.largest = std::max(error.largest, std::abs(dx[i] - exact));
    error.stored = std::max(error.stored, std::abs(test::rounded(exact, t) - exact));
  }
  const double unit = std::abs(scale) * largest_dz;
  return {error.largest / unit, error.stored / unit};
}

Error error_of(const Problem& p) {
  Context cx = test::device_context(p.dtype);
  Tape tape;
  cx.tape = &tape;
  cx.training = true;
  const int64_t c = Problem::kChannels, size = Problem::kRows * c;
  Values xs = test::random_values(size, 1, DType::f32, -1.7, 1.7),
         weights = test::random_values(c, 2, DType::f32, 0.5, 2);
  Values dys = test::random_values(size, 3, p.dtype);
  for (size_t i = 0; i < xs.size(); ++i) {
    // The gradient depends on x, so that the part of dx which is proportional to x - mean is not small.
    dys[i] = test::rounded(dys[i] + xs[i], p.dtype);
    xs[i] = test::rounded(xs[i] + p.mean, p.dtype);
  }
  Tensor x = test::place(cx, p.shape(), p.dtype, xs);
  const auto dx = test::watch(cx, x);
  const Tensor weight = test::place(cx, {c}, DType::f32, weights),
               bias = test::place(cx, {c}, DType::f32, Values(c, 0.1));
  const Normalised n = batch_norm(cx, x, {weight, bias, cx.zeros({c}, DType::f32), cx.zeros({c}, DType::f32)});
  const Tensor y = fuse(cx, {{x, &n}}, p.relu ? Act::relu : Act::none);
  tape.backward(cx, test::weighted_sum(cx, {{y, test::place(cx, p.shape(), p.dtype, dys)}}));
  const Values ys = test::fetch(cx, y), got = test::fetch(cx, *dx);
  Error error;
  for (int64_t channel = 0; channel < c; ++channel) {
    Values mine, dz, of_x;
    for (int64_t i = channel; i < size; i += c) {
      mine.push_back(xs[i]);
      dz.push_back(p.relu && ys[i] <= 0 ? 0 : dys[i]);
      of_x.push_back(got[i]);
    }
    const Error e = error_of_channel(mine, dz, of_x, weights[channel], p.dtype);
    error = {std::max(error.largest, e.largest), std::max(error.stored, e.stored)};
  }
  return error;
}

// x - mean is small beside x, so each rounding of a number as large as b mean counts `mean` times more than one of dx:
// the mean itself, and in the folded form b mean and, where multiply-adds are not fused, b x. In bf16 the rounding of
// the stored result hides all of that.
TEST_F(GpuNormBackward, FoldedItLosesTwoRoundingsOfTheMean) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const bool relu : {false, true}) {
      for (const double mean : {0.0, 1.0, 10.0, 100.0, 1000.0}) {
        SCOPED_TRACE(fmt::format("{}, mean {}{}", name_of(t), mean, relu ? ", ReLU" : ""));
        const Problem p{t, mean, relu};
        const Error centred = error_of(p);
        const test::Switched switched{{"HRNET_NORM_BACKWARD", "folded"}};
        const Error folded = error_of(p);
        const double stored = t == DType::bf16 ? folded.stored : 0;
        EXPECT_LE(centred.largest, stored + (16 + 0.75 * mean) * 0x1p-24);
        EXPECT_LE(folded.largest, stored + (16 + 1.5 * mean) * 0x1p-24);
        RecordProperty(fmt::format("{}_{}_{}_centred", name_of(t), mean, relu), fmt::format("{:.2e}", centred.largest));
        RecordProperty(fmt::format("{}_{}_{}_folded", name_of(t), mean, relu), fmt::format("{:.2e}", folded.largest));
        // This shows that the switch was used. It is one of a GPU.
        const bool differs = test::test_device() != "cpu" && t == DType::f32 && mean >= 100;
        if (differs) {
          EXPECT_NE(folded.largest, centred.largest);
        }
      }
    }
  }
}

}  // namespace
}  // namespace hr
