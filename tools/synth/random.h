// Random numbers for the synthetic pictures.
#pragma once
#include <algorithm>

#include "core/philox.h"

namespace hr::synth_detail {

inline float uniform(Philox& rng, double lo, double hi) { return static_cast<float>(rng.uniform(lo, hi)); }
// A normal distribution that is cut at two standard deviations, because joints cannot move beyond their limits.
inline float around(Philox& rng, double mean, double deviation) {
  return static_cast<float>(mean + deviation * std::clamp(rng.normal(), -2.0, 2.0));
}
inline bool chance(Philox& rng, double p) { return rng.uniform() < p; }
inline int whole(Philox& rng, int lo, int hi) {
  const int count = hi - lo + 1;
  return lo + static_cast<int>(rng.below(static_cast<uint64_t>(count)));
}

}  // namespace hr::synth_detail
