// What the functors of ops/*_kernel.h are written in. Included by C++ and by CUDA files, so nothing else of ours is.
#pragma once
#include <cmath>
#include <cstdint>

#include "ops/lanes.h"
#include "ops/launch.h"
