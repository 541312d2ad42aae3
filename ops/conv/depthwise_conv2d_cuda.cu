#include "ops/for_each.cuh"
//
#include "ops/conv/depthwise_conv2d_instances.h"
