// ops/gpu_loops.h on the simulated device: every loop of every functor, by the CPU's loops when its time has come.
#include <cstring>
#include <vector>

#include "ops/for_each.h"
#include "ops/tile_conv_launch.h"
#include "tests/simulated_gpu/simulator.h"

namespace hr::gpu {

template <class F>
void for_each(cuda::Stream stream, int64_t rows, int64_t channels, const F& f) {
  simulator::enqueue(stream, [=] { hr::for_each(Context(), rows, channels, f); });
}
template <class F>
void reduce_rows(cuda::Stream stream, int64_t rows, int64_t channels, const F& f, float* partial) {
  simulator::enqueue(stream, [=] {
    const Partials p = hr::reduce_rows(Context(), rows, channels, f);
    std::memcpy(partial, p.sums.raw(), p.sums.bytes());
  });
}
template <class F>
void for_columns(cuda::Stream stream, int64_t parts, int64_t channels, const F& f) {
  simulator::enqueue(stream, [=] { hr::for_columns(Context(), parts, channels, f); });
}
template <class F>
void for_each_flat(cuda::Stream stream, int64_t n, const F& f) {
  simulator::enqueue(stream, [=] { hr::for_each_flat(Context(), n, f); });
}

}  // namespace hr::gpu

#include "ops/instantiate.h"
//
#include "ops/adam_instances.h"
#include "ops/batch_norm_instances.h"
#include "ops/crop_instances.h"
#include "ops/fuse_instances.h"
#include "ops/gpu_conv_instances.h"
#include "ops/heatmaps_instances.h"
#include "ops/joints_loss_instances.h"
#include "ops/max_pool2d_instances.h"
#include "ops/sum_instances.h"

// Our own convolutions, by plain loops.
namespace hr::gpu {
namespace {

// Calls use(output pixel, input pixel, tap) for all that a 3x3 convolution of padding 1 connects.
template <class Use>
void for_taps(int n, int h, int w, const Use& use) {
  for (int64_t out = 0; out < int64_t{n} * h * w; ++out) {
    const auto x = static_cast<int>(out % w), y = static_cast<int>(out / w % h);
    for (int tap = 0; tap < 9; ++tap) {
      const int iy = y + tap / 3 - 1, ix = x + tap % 3 - 1;
      if (iy >= 0 && iy < h && ix >= 0 && ix < w) use(out, out + (tap / 3 - 1) * w + tap % 3 - 1, tap);
    }
  }
}

}  // namespace

void tile_conv(cuda::Stream stream, const TileConvLaunch& l) {
  simulator::enqueue(stream, [=] {
    const int64_t count = int64_t{l.n} * l.h * l.w * 32;
    std::vector<float> sums(static_cast<size_t>(count));
    for_taps(l.n, l.h, l.w, [&](int64_t out, int64_t in, int tap) {
      for (int co = 0; co < 32; ++co) {
        const bf16* filter = l.filter + (co * 9 + tap) * 32;
        for (int ci = 0; ci < 32; ++ci) {
          const float weight = to_float(filter[ci]);
          if (l.flipped) {
            sums[in * 32 + ci] += weight * to_float(l.x[out * 32 + co]);
          } else {
            sums[out * 32 + co] += weight * to_float(l.x[in * 32 + ci]);
          }
        }
      }
    });
    for (int64_t i = 0; i < count; ++i) {
      float v = sums[i];
      if (l.add != nullptr) v += to_float(l.add[i]);
      if (l.bias != nullptr) v += to_float(l.bias[i % 32]);
      l.y[i] = from_float<bf16>(l.relu && v < 0 ? 0 : v);
    }
  });
}

void tile_filter_gradient(cuda::Stream stream, const TileFilterGradientLaunch& l) {
  simulator::enqueue(stream, [=] {
    std::vector<float> sums(static_cast<size_t>(l.co) * 9 * l.ci);
    for_taps(l.n, l.h, l.w, [&](int64_t out, int64_t in, int tap) {
      for (int co = 0; co < l.co; ++co) {
        const float dy = to_float(l.dy[out * l.co + co]);
        for (int ci = 0; ci < l.ci; ++ci) sums[(int64_t{co} * 9 + tap) * l.ci + ci] += dy * to_float(l.x[in * l.ci + ci]);
      }
    });
    std::memcpy(l.filter, sums.data(), sums.size() * sizeof(float));
  });
}

}  // namespace hr::gpu
