#include "ops/for_each.cuh"
//
#include "ops/depthwise_conv2d_instances.h"
