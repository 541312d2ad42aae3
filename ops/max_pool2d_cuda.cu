#include "ops/for_each.cuh"
//
#include "ops/max_pool2d_instances.h"
