#include "ops/for_each.cuh"
//
#include "ops/conv/gpu_conv_instances.h"
