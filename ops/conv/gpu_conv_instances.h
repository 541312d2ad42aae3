// The functors of ops/conv/gpu_conv.cc and the files around it that run on a GPU.
#include "ops/conv/gpu_conv_kernel.h"

HR_FOR_EACH_FLAT(hr::SwapFilterEnds<float>)
HR_FOR_EACH(hr::ConvEpilogue<float, float>)
HR_FOR_EACH(hr::ConvEpilogue<hr::bf16, hr::bf16>)
HR_FOR_EACH(hr::ConvEpilogue<hr::bf16, float>)
HR_FOR_EACH(hr::SiluEpilogue<float>)
HR_FOR_EACH(hr::SiluEpilogue<hr::bf16>)
HR_FOR_EACH_FLAT(hr::OccupyDevice)
