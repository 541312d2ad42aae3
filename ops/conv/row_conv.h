// Convolutions in float32 on the CPU as products of rows of the picture with the filters, by the direct sum. Used for
// inference, where bias, activation and summand are computed while the sums are still in registers: 1x1 convolutions,
// also of several inputs whose channels are joined, and convolutions with few input channels.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "ops/conv/backend.h"
#include "ops/conv/row_conv_loops.h"

namespace hr {

// Not thread-safe: the object keeps its scratch memory between calls. It computes with the OpenMP threads of the
// caller, or records its loops in cx.loops; `packed` and the inputs must then outlive them. The results depend neither
// on the number of threads nor on the other pictures of a batch.
class RowConv {
 public:
  // The loops use the instructions of `level`, which the processor must have.
  explicit RowConv(CpuLevel level = cpu_level());

  // Returns whether there are loops for the level: it must be AVX2 or more.
  bool exists() const { return loops_ != nullptr; }
  // Returns whether the method computes this convolution: in float32, either 1x1 with stride 1, or with at most 4 input
  // channels.
  bool supports(const ConvGeometry& g) const;

  // Computes what ConvBackend's function of the same name does. supports(g) must be true. `packed` may be null.
  void forward(const Context& cx, const ConvGeometry& g, const float* x, const float* filter, const float* bias,
               const float* add, ConvAct act, float* y, PackedFilters* packed);
  // Computes what ConvBackend's function of the same name does, for a g that is supported and 1x1.
  void forward_joined(const Context& cx, const ConvGeometry& g, std::span<const ConvInput> inputs, const float* filter,
                      const float* bias, ConvAct act, float* y, PackedFilters* packed);

 private:
  // The columns [begin, end) of a filter that is seen as a matrix with one row per output channel.
  struct Columns {
    std::vector<std::pair<int64_t, int64_t>> ranges;
    int64_t count = 0;
    void add(int64_t begin, int64_t end) {
      ranges.emplace_back(begin, end);
      count += end - begin;
    }
  };
  Tensor pack(const ConvGeometry& g, const float* filter, const Columns& columns, const char* part,
              PackedFilters* packed) const;
  void multiply(std::span<const row_conv::Term> terms, int64_t pixels, const float* filters,
                row_conv::Outputs to) const;
  void multiply_pieces(const Context& cx, std::span<const row_conv::Term> terms, int64_t pixels, const Tensor& filters,
                       const row_conv::Outputs& to) const;
  void multiply_rows(const Context& cx, const ConvGeometry& g, const float* x, const Tensor& filters,
                     const row_conv::Outputs& to);

  const row_conv::Loops* loops_;
  std::vector<std::vector<float>> of_thread_;  // Rows of the picture with their padding.
};

}  // namespace hr
