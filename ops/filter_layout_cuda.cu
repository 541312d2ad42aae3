#include "ops/for_each.cuh"
//
#include "ops/filter_layout_instances.h"
