// The functors of ops/conv/depthwise_conv2d.cc that run on a GPU.
#include "ops/conv/depthwise_conv2d_kernel.h"

HR_FOR_EACH(hr::DepthwiseForward<float>)
HR_FOR_EACH(hr::DepthwiseForward<hr::bf16>)
