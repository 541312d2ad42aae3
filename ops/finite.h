// Tells whether a number is neither infinite nor NaN, on the host and in kernels.
#pragma once
#include "ops/kernel.h"

namespace hr {

HR_HD bool is_finite(float x) { return x - x == 0.0f; }

}  // namespace hr
