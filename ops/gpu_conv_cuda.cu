#include "ops/for_each.cuh"
//
#include "ops/gpu_conv_instances.h"
