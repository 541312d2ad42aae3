// What the functors of ops/*_kernel.h are written in. Included by C++ and by CUDA files, so nothing else of ours is.
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

// A functor is one<V>(at, c): what happens to the channels of one V in one row. Where memory sets the pace it is split:
// one<V>(at, c, read<V>(at, c)), and F::kAhead rows are read before the first is computed with. A GPU hides the
// memory's latency behind what is under way, and the compiler may not move a row's loads over another's stores itself.
template <class F>
inline constexpr int rows_ahead = 0;
template <class F>
requires requires { F::kAhead; }
inline constexpr int rows_ahead<F> = F::kAhead;

// One row. `terms`: of a reduction.
template <class V, class F, class At, class... Terms>
HR_HD void run(const F& f, const At& at, int64_t c, Terms*... terms) {
  if constexpr (rows_ahead < F >> 0) {
    f.template one<V>(at, c, f.template read<V>(at, c), terms...);
  } else {
    f.template one<V>(at, c, terms...);
  }
}

}  // namespace hr
