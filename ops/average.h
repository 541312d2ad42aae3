// Exponential moving averages of slabs, as of the weights during training (after Polyak and Juditsky 1992).
#pragma once
#include <span>

#include "core/context.h"

namespace hr {

// One slab and its average, f32 of equal length.
struct Averaged {
  Tensor values, average;
};

// Computes average += w (values - average) with w = 1 - min(decay, (1 + t) / (10 + t)). t is the number in `steps` ([1]
// i64), which counts the updates including the current one. Changes nothing if `valid` ([1] f32, may be undefined) is
// not finite. Runs on the device and reads t there, so a captured graph can contain it. Throws Error if the lengths of
// a slab and its average differ.
void moving_average(Context& cx, std::span<const Averaged> slabs, const Tensor& steps, double decay,
                    const Tensor& valid);

}  // namespace hr
