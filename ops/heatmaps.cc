#include "ops/heatmaps.h"

#include "core/error.h"
#include "ops/for_each.h"
#include "ops/heatmaps_kernel.h"

namespace hr {
namespace {
void expect_maps(const char* op, const Tensor& t) {
  check(t.rank() == 4 && t.dtype() == DType::f32, "{}: expected [N, h, w, K] f32, got {} of {}", op,
        to_string(t.shape()), name_of(t.dtype()));
}
}  // namespace

void append_mirrored(Context& cx, const Tensor& images) {
  expect_maps("append_mirrored", images);
  check(images.dim(0) % 2 == 0, "append_mirrored: expected an even number of pictures, got {}", images.dim(0));
  const int64_t half = images.numel() / 2, channels = images.dim(3);
  for_each(cx, half / channels, channels,
           MirrorColumns{.x = images.data<float>(),
                         .y = images.data<float>() + half,
                         .w = static_cast<uint32_t>(images.dim(2)),
                         .channels = channels});
}

Tensor flip_average(Context& cx, const Tensor& maps, const Tensor& mirror, bool shift) {
  expect_maps("flip_average", maps);
  const int64_t joints = maps.dim(3), half = maps.numel() / 2;
  check(maps.dim(0) % 2 == 0 && mirror.dtype() == DType::i32 && mirror.numel() == joints,
        "flip_average: maps {} and a mirror of {} indices; expected an even number of maps and one i32 index per joint",
        to_string(maps.shape()), mirror.numel());
  Tensor y = cx.empty({maps.dim(0) / 2, maps.dim(1), maps.dim(2), joints}, DType::f32);
  for_each(cx, half / joints, joints,
           FlipAverage{.maps = maps.data<float>(),
                       .mirrored = maps.data<float>() + half,
                       .mirror = mirror.data<int32_t>(),
                       .y = y.data<float>(),
                       .w = static_cast<uint32_t>(maps.dim(2)),
                       .joints = joints,
                       .shift = shift});
  return y;
}

Tensor gaussian_targets(Context& cx, const Tensor& profiles, int h, int w) {
  check(profiles.rank() == 3, "gaussian_targets: expected profiles [N, {} + {}, K] f64, got {}", w, h,
        to_string(profiles.shape()));
  Tensor y = cx.empty({profiles.dim(0), h, w, profiles.dim(2)}, DType::f32);
  gaussian_targets(cx, profiles, y);
  return y;
}

void gaussian_targets(Context& cx, const Tensor& profiles, const Tensor& targets) {
  expect_maps("gaussian_targets", targets);
  const int64_t n = targets.dim(0), h = targets.dim(1), w = targets.dim(2), joints = targets.dim(3);
  check(profiles.shape() == Shape{n, w + h, joints} && profiles.dtype() == DType::f64,
        "gaussian_targets: expected profiles [{}, {} + {}, {}] f64, got {} of {}", n, w, h, joints,
        to_string(profiles.shape()), name_of(profiles.dtype()));
  for_each(cx, n * h * w, joints,
           GaussianTargets{.profiles = profiles.data<double>(),
                           .targets = targets.data<float>(),
                           .h = static_cast<uint32_t>(h),
                           .w = static_cast<uint32_t>(w),
                           .joints = joints});
}

}  // namespace hr
