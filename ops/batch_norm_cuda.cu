#include "ops/for_each.cuh"
//
#include "ops/batch_norm_instances.h"
