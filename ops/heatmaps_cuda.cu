#include "ops/for_each.cuh"
//
#include "ops/heatmaps_instances.h"
