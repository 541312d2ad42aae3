// Convolutions on the CPU use oneDNN's direct method, or Winograd's method where it is faster. In inference, 1x1
// convolutions and those with few input channels have a direct sum of their own (ops/conv/row_conv), and in training
// the filter gradient of 1x1 convolutions and of those with a stride (ops/conv/pixel_products).
//
// The two methods round differently, so the choice must be the same in every run. It follows from the shape of the
// convolution by an estimate (Winograd::gain) and never from the number of threads. Where the estimate is too close to
// 1, both methods are measured at the first call. The result is kept in a file beside the plans for GPUs, so that later
// runs make the same choice. Without such a file, and while several ranks work together, the estimate alone decides.
#pragma once
#include <map>
#include <optional>

#include "ops/conv/choice.h"
#include "ops/conv/dnnl_conv.h"
#include "ops/conv/pixel_products.h"
#include "ops/conv/row_conv.h"
#include "ops/conv/winograd.h"

namespace hr {

// The name of the processor as the system tells it, for files of measurements.
std::string processor_name();

class CpuConv final : public ConvBackend {
 public:
  // `plans` is the file of measured choices; with an empty path nothing is measured. `listener` is called once if the
  // file cannot be written.
  explicit CpuConv(fs::path plans, ConvPlanMemory::Listener listener = {});

  void forward(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter, const float* bias,
               const void* add, ConvAct act, void* y, PackedFilters* packed) override;
  Tensor forward_with_statistics(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter,
                                 void* y) override;
  bool allows_y_over_add(const Context& cx, const ConvGeometry& g, bool packed) const override;
  bool joins(const Context& cx) const override;
  void forward_joined(const Context& cx, const ConvGeometry& g, std::span<const ConvInput> inputs, ConvFilter filter,
                      const float* bias, ConvAct act, void* y, PackedFilters* packed) override;
  void backward_data(const Context& cx, const ConvGeometry& g, const void* dy, ConvFilter filter, void* dx) override;
  void backward_filter(const Context& cx, const ConvGeometry& g, const void* x, const void* dy, float* dfilter,
                       float* dbias) override;
  std::string description() const override;

 private:
  using Pass = ConvProblem::Pass;
  template <class Direct, class Fast>
  void run(const Context& cx, const ConvGeometry& g, Pass pass, const Direct& direct, const Fast& fast,
           bool possible = true);
  template <class Body>
  void timed(const Body& body);
  template <class Direct, class Fast>
  bool measure(const Context& cx, const std::string& problem, const Direct& direct, const Fast& fast);

  DnnlConv direct_;
  Winograd winograd_;
  RowConv rows_;
  PixelProducts products_;
  fs::path plans_;
  ConvPlanMemory::Listener listener_;
  std::optional<ConvPlanMemory> memory_;  // It is created when it is first needed.
};

}  // namespace hr
