#include "ops/for_each.cuh"
//
#include "ops/concat_instances.h"
