// Convolutions on the CPU through oneDNN. This file pair is the only one that knows oneDNN (API v2 and v3).
#pragma once
#include <memory>
#include <string>

#include "ops/conv/backend.h"

namespace hr {

class DnnlConv final : public ConvBackend {
 public:
  DnnlConv();
  ~DnnlConv() override;
  DnnlConv(const DnnlConv&) = delete;
  DnnlConv& operator=(const DnnlConv&) = delete;

  void forward(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter, const float* bias,
               const void* add, ConvAct act, void* y, PackedFilters* packed) override;
  void backward_data(const Context& cx, const ConvGeometry& g, const void* dy, ConvFilter filter, void* dx) override;
  void backward_filter(const Context& cx, const ConvGeometry& g, const void* x, const void* dy, float* dfilter,
                       float* dbias) override;
  std::string description() const override;

 private:
  struct Impl;
  // Adds forward() to cx.loops, as pieces of some rows of one picture.
  void record(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter, const float* bias,
              const void* add, ConvAct act, void* y, PackedFilters* packed);
  std::unique_ptr<Impl> impl_;
};

// Returns whether oneDNN has bf16 convolutions on this processor (API v2: from AVX-512 on). If not, conv2d converts to
// f32 and back.
bool dnnl_has_bf16();

}  // namespace hr
