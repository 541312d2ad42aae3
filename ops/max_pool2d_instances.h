// The functors of ops/max_pool2d.cc that run on a GPU.
#include "ops/max_pool2d_kernel.h"

HR_FOR_EACH(hr::MaxPoolForward<float>)
HR_FOR_EACH(hr::MaxPoolForward<hr::bf16>)
HR_FOR_EACH(hr::MaxPoolValues<float>)
HR_FOR_EACH(hr::MaxPoolValues<hr::bf16>)
HR_FOR_EACH(hr::MaxPoolBackward<float>)
HR_FOR_EACH(hr::MaxPoolBackward<hr::bf16>)
