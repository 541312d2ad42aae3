// 1x1 convolutions on a GPU through cuBLASLt. This file pair is the only one that knows cuBLASLt, which is loaded when
// first used.
#pragma once
#include <memory>

#include "ops/conv/library.h"

namespace hr {

// cuBLASLt on the current device; null if there is none to load, since cuDNN can do all that it does. It has candidates
// for matrix products (ops/conv/gemm.h), but for those with a bias and a bf16 result. Error: it cannot use the device.
std::unique_ptr<ConvLibrary> open_cublaslt();

}  // namespace hr
