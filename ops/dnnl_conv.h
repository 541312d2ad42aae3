// Convolutions on the CPU through oneDNN. This file pair is the only one that knows oneDNN (API v2 and v3).
#pragma once
#include <map>
#include <memory>
#include <string>

#include "core/context.h"

namespace hr {

// One convolution's shape. Activations [n, h, w, ci] -> [n, out_h, out_w, co], filter [co, kh, kw, ci], dense.
struct ConvGeometry {
  int64_t n = 0, h = 0, w = 0, ci = 0, co = 0, kh = 1, kw = 1, stride = 1, pad = 0;
  bool transposed = false;  // a deconvolution: torch's ConvTranspose2d with output_padding 0
  DType src = DType::f32;   // f32 or bf16; filters are converted from f32 to it on the way in
  DType dst = DType::f32;

  int64_t out_h() const { return transposed ? (h - 1) * stride - 2 * pad + kh : (h + 2 * pad - kh) / stride + 1; }
  int64_t out_w() const { return transposed ? (w - 1) * stride - 2 * pad + kw : (w + 2 * pad - kw) / stride + 1; }
};

// Filters reordered into the layouts that oneDNN's kernels want, kept for weights that do not change (inference).
class PackedFilters {
 public:
  std::map<std::string, Tensor> by_layout;
};

// What the caller may time: seconds inside convolution primitives, and inside the filter reorders around them.
struct ConvClock {
  double primitives = 0, reorders = 0;
  int64_t calls = 0;
};

class DnnlConv {
 public:
  DnnlConv();
  ~DnnlConv();
  DnnlConv(const DnnlConv&) = delete;
  DnnlConv& operator=(const DnnlConv&) = delete;

  // y = relu?(conv(x, filter) + bias? + add?); bias [co] f32, add like y. `packed` may be null.
  void forward(const Context& cx, const ConvGeometry& g, const void* x, const float* filter, const float* bias,
               const void* add, bool relu, void* y, PackedFilters* packed);
  // dx from dy (both of dtype g.src).
  void backward_data(const Context& cx, const ConvGeometry& g, const void* dy, const float* filter, void* dx);
  // dfilter [co, kh, kw, ci] f32 and dbias [co] f32 (may be null) from x and dy (both of dtype g.src).
  void backward_filter(const Context& cx, const ConvGeometry& g, const void* x, const void* dy, float* dfilter,
                       float* dbias);

  ConvClock clock;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "oneDNN 2.6.3, avx512_core_bf16": for headers of measurements.
std::string dnnl_description();
// Whether this processor multiplies bf16 in hardware; elsewhere bf16 works, slower than f32.
bool cpu_has_bf16();
// Whether oneDNN has bf16 convolutions here at all (API v2: from AVX-512 on); elsewhere conv2d converts around f32
// ones.
bool dnnl_has_bf16();

}  // namespace hr
