// The form of the functors in ops/*_kernel.h. C++ and CUDA files include this, so it includes no other header of the
// project that either of them could not compile.
#pragma once
#include <cmath>
#include <cstdint>

#include "ops/lanes.h"
#include "ops/launch_grid.h"

namespace hr {

// A functor has one<V>(at, c), which processes the channels of one V in one row. If memory bandwidth limits it, it is
// split: read<V>(at, c) loads, and one<V>(at, c, loaded) computes. The loop then loads F::kAhead rows before it
// computes the first. A GPU needs several loads in flight to hide the latency of memory, and the compiler may not move
// the loads of one row before the stores of another.
template <class F>
inline constexpr int rows_ahead = 0;
template <class F>
requires requires { F::kAhead; }
inline constexpr int rows_ahead<F> = F::kAhead;

// Processes one row. `terms` are the sums of a reduction.
template <class V, class F, class At, class... Terms>
HR_HD void run(const F& f, const At& at, int64_t c, Terms*... terms) {
  if constexpr (rows_ahead < F >> 0) {
    f.template one<V>(at, c, f.template read<V>(at, c), terms...);
  } else {
    f.template one<V>(at, c, terms...);
  }
}

}  // namespace hr
