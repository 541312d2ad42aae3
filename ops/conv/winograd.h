// Winograd's method F(4x4, 3x3) for 3x3 convolutions with stride 1 in float32 on the CPU (ops/conv/winograd_loops.h has
// the formulas). It needs a quarter of the multiplications and rounds differently: about twice the rms error of the
// direct sum.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "ops/conv/library.h"
#include "ops/conv/winograd_loops.h"

namespace hr {

// Not thread-safe. The results do not depend on the number of threads or on the other pictures of a batch.
class Winograd {
 public:
  using Pass = ConvProblem::Pass;

  // Uses the instructions of `level`, which the processor must have.
  explicit Winograd(CpuLevel level = cpu_level());

  // Whether the level has loops for it: AVX2 or more.
  bool exists() const { return loops_ != nullptr; }
  // Whether the method exists for this convolution at this level: 3x3, stride 1, pad at most 2, float32, AVX2 or more.
  bool supports(const ConvGeometry& g) const;

  // An estimate of how many times as fast as the direct sum it is. It depends on nothing but the shape and the level.
  double gain(const ConvGeometry& g, Pass pass) const;

  // Like ConvBackend's functions. supports(g) must be true. The filters are transformed by each call: that takes less
  // time than to fetch them in transformed form, which is four times as large, from memory.
  void forward(const ConvGeometry& g, const float* x, const float* filter, const float* bias, const float* add,
               ConvAct act, float* y);
  void backward_data(const ConvGeometry& g, const float* dy, const float* filter, float* dx);
  void backward_filter(const ConvGeometry& g, const float* x, const float* dy, float* dfilter);

 private:
  // Memory that grows and is kept.
  class Scratch {
   public:
    float* get(int64_t floats);

   private:
    struct Free {
      void operator()(float* p) const;
    };
    std::unique_ptr<float, Free> data_;
    int64_t floats_ = 0;
  };
  // How one convolution is divided.
  struct Plan;

  Plan plan_of(const winograd::Problem& p) const;
  void run(const winograd::Problem& p, const winograd::Filters& filters);
  void run_by_tiles(const winograd::Problem& p, const Plan& plan, const winograd::Filters& from);
  void run_by_channels(const winograd::Problem& p, const Plan& plan, const winograd::Filters& from);
  float* scratch_of_thread(int64_t floats);
  int vectors_of(const winograd::Problem& p, const Plan& plan, int64_t k0) const;

  const winograd::Loops* loops_;
  Scratch filters_, inputs_;
  std::vector<Scratch> of_thread_;
};

}  // namespace hr
