// The functors of ops/concat.cc that run on a GPU.
#include "ops/concat_kernel.h"

HR_FOR_EACH(hr::ConcatForward<float>)
HR_FOR_EACH(hr::ConcatForward<hr::bf16>)
HR_FOR_EACH(hr::PutPixels)
