#include "ops/for_each.cuh"
//
#include "ops/adam_instances.h"
