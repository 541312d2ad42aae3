// Exponential moving averages (Polyak and Juditsky 1992) of slabs.
#pragma once
#include <span>

#include "core/context.h"

namespace hr {

// One slab and its average, f32 of equal length.
struct Averaged {
  Tensor values, average;
};

// average += w (values - average) with w = 1 - min(decay, (1 + t) / (10 + t)); t is the number at `steps` ([1] i64),
// the updates so far with this one. Nothing changes if `valid` ([1] f32, may be undefined) is not finite. Runs on the
// device and reads t there, so a captured graph can hold it. Throws Error if lengths differ.
void moving_average(Context& cx, std::span<const Averaged> slabs, const Tensor& steps, double decay,
                    const Tensor& valid);

}  // namespace hr
