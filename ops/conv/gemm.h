// A 1x1 convolution of stride 1 without padding as a matrix product over n*h*w rows.
#pragma once
#include <optional>

#include "ops/conv/library.h"

namespace hr {

// D = relu?(op(A) op(B) + C? + bias?) in the terms of BLAS: column-major, D [m, n], op(A) [m, k], op(B) [k, n], where
// op transposes or does nothing, and element (row, column) of a matrix lies at row + column * ld. Our row-major [rows,
// channels] is such a matrix of [channels, rows], so that the bias is added to each column of D, channel by channel.
struct ConvGemm {
  // These say where a matrix lies. D is ConvBuffers::out. C is ConvBuffers::add; it has the type and ld of D and is
  // never D itself.
  const void* ConvBuffers::*a = nullptr;
  const void* ConvBuffers::*b = nullptr;
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  int64_t lda = 0, ldb = 0, ldd = 0;
  DType ab_type = DType::f32, d_type = DType::f32;
};

// Returns nothing if the problem is not a matrix product.
std::optional<ConvGemm> as_gemm(const ConvProblem& problem);

}  // namespace hr
