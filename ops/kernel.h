// The form of the functors in ops/*_kernel.h. C++ and CUDA files include this, so it includes no other header of the
// project that either of them could not compile.
#pragma once
#include <cmath>
#include <cstdint>

#include "ops/lanes.h"
#include "ops/launch_grid.h"

// A kernel header ends with the list of its functors that a GPU runs, each with its loop. CMake compiles the list of
// every *_kernel.h (ops/CMakeLists.txt), where ops/instantiate.h gives these names a meaning; elsewhere they have none.
#define HR_FOR_EACH(...)
#define HR_REDUCE_ROWS(...)
#define HR_FOR_COLUMNS(...)
#define HR_FOR_EACH_FLAT(...)

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

// If the arithmetic of a functor that is split has numbers that depend on the channel alone, coefficients<V>(c) loads
// them and one<V>(at, c, loaded, coefficients) uses them. The loop decides whether it loads them for every row, or once
// for all rows of a thread, which costs registers. It cannot be left to the compiler, because as far as it knows the
// stores may change them. A functor with kLoadsCoefficients also has one<V>(at, c, loaded), which loads them itself.
template <class F>
inline constexpr bool has_coefficients = requires {
  typename F::template Coefficients<float>;
};
template <class F>
inline constexpr bool loads_coefficients = !has_coefficients<F>;
template <class F>
requires requires { F::kLoadsCoefficients; }
inline constexpr bool loads_coefficients<F> = F::kLoadsCoefficients;
// True if a thread has the registers to keep them.
template <class F>
inline constexpr bool keeps_coefficients = has_coefficients<F>;
template <class F>
requires requires { F::kKeepsCoefficients; }
inline constexpr bool keeps_coefficients<F> = F::kKeepsCoefficients;

// Processes one row that was read already, and loads its coefficients.
template <class V, class F, class At, class In, class... Terms>
HR_HD void run_read(const F& f, const At& at, int64_t c, const In& in, Terms*... terms) {
  if constexpr (loads_coefficients<F>) {
    f.template one<V>(at, c, in, terms...);
  } else {
    f.template one<V>(at, c, in, f.template coefficients<V>(c), terms...);
  }
}

// Processes one row. `terms` are the sums of a reduction.
template <class V, class F, class At, class... Terms>
HR_HD void run(const F& f, const At& at, int64_t c, Terms*... terms) {
  if constexpr (rows_ahead < F >> 0) {
    run_read<V>(f, at, c, f.template read<V>(at, c), terms...);
  } else {
    f.template one<V>(at, c, terms...);
  }
}

}  // namespace hr
