#include "ops/for_each.cuh"
//
#include "ops/joints_loss_instances.h"
