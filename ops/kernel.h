// What the functors of ops/*_kernel.h are written in. Included by C++ and by CUDA files, so nothing else of ours is.
#pragma once
#include <cmath>
#include <cstdint>

#include "ops/lanes.h"
#include "ops/launch.h"

namespace hr {

// A functor is one<V>(at, c): what happens to the channels of one V in one row. Where memory sets the pace it is split:
// one<V>(at, c, read<V>(at, c)), and F::kAhead rows are read before the first is computed with. A GPU hides the
// memory's latency behind what is under way, and the compiler may not move a row's loads over another's stores itself.
template <class F>
inline constexpr int rows_ahead = 0;
template <class F>
requires requires { F::kAhead; }
inline constexpr int rows_ahead<F> = F::kAhead;

// Such a functor may also have a Column<V>: what all rows share, coefficients of the channels for instance. One thread
// loads column<V>(first, c) once, before its loop over rows, and hands it to one<V>(at, c, in, column). `first` is the
// first row of a reduction's block.
template <class F>
concept HasColumn = requires {
  typename F::template Column<float>;
};

struct NoColumn {};
template <class V, class F>
HR_HD auto column_of(const F& f, int64_t first, int64_t c) {
  if constexpr (HasColumn<F>) {
    return f.template column<V>(first, c);
  } else {
    return NoColumn{};
  }
}

// One row that has been read. `terms`: of a reduction.
template <class V, class F, class At, class In, class Column, class... Terms>
HR_HD void use(const F& f, const At& at, int64_t c, const In& in, const Column& column, Terms*... terms) {
  if constexpr (HasColumn<F>) {
    f.template one<V>(at, c, in, column, terms...);
  } else {
    f.template one<V>(at, c, in, terms...);
  }
}

// One row.
template <class V, class F, class At, class Column, class... Terms>
HR_HD void run(const F& f, const At& at, int64_t c, const Column& column, Terms*... terms) {
  if constexpr (rows_ahead < F >> 0) {
    use<V>(f, at, c, f.template read<V>(at, c), column, terms...);
  } else {
    f.template one<V>(at, c, terms...);
  }
}

// A functor of a reduction may keep a row of its own per block beside the sums, for the merge: kept(column).
template <class F>
concept KeepsRow = requires {
  F::kKeepsRow;
};
template <class F>
inline constexpr int partial_rows = F::kSums + (KeepsRow<F> ? 1 : 0);

// A reduction over rows, and the functor that merges its partial sums over blocks.
template <class Rows, class Merge>
struct Reduction {
  Rows rows;
  Merge merge;
};

}  // namespace hr
