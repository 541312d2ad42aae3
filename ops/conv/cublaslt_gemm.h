// 1x1 convolutions on a GPU through cuBLASLt. This file pair is the only one that knows cuBLASLt, which is loaded at
// its first use.
#pragma once
#include <memory>

#include "ops/conv/library.h"

namespace hr {

// Opens cuBLASLt on the current device. Returns null if the library is not installed, because cuDNN can do everything
// that it does. It has candidates for matrix products (ops/conv/gemm.h), except for those with a bias and a bf16
// result. Throws Error if it cannot use the device.
std::unique_ptr<ConvLibrary> open_cublaslt();

}  // namespace hr
