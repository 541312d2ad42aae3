// The functor of ops/crop.cc that runs on a GPU.
#include "ops/crop_kernel.h"

HR_FOR_EACH(hr::CropWarp)
