// The functor that ops/gpu_conv runs on a GPU.
#include "ops/filter_layout_kernel.h"

HR_FOR_EACH_FLAT(hr::SwapFilterEnds<float>)
