// The functors of ops/adam.cc that run on a GPU.
#include "ops/adam_kernel.h"

HR_FOR_EACH_FLAT(hr::CountAdamStep)
HR_FOR_EACH_FLAT(hr::AdamUpdate)
