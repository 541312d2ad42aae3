#include "ops/for_each.cuh"
//
#include "ops/sum_instances.h"
