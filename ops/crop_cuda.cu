#include "ops/for_each.cuh"
//
#include "ops/crop_instances.h"
