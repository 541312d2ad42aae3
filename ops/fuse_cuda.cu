#include "ops/for_each.cuh"
//
#include "ops/fuse_instances.h"
