// Winograd's method F(4x4, 3x3) computes 3x3 convolutions with stride 1 in float32 on the CPU
// (ops/conv/winograd_loops.h has the formulas). It needs a quarter of the multiplications of the direct sum and rounds
// differently: its rms error is about twice that of the direct sum.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "core/loop_graph.h"
#include "ops/conv/library.h"
#include "ops/conv/winograd_loops.h"

namespace hr {

// Not thread-safe: the object keeps its scratch memory between calls. The results depend neither on the number of
// threads nor on the other pictures of a batch.
class Winograd {
 public:
  using Pass = ConvProblem::Pass;

  // The loops use the instructions of `level`, which the processor must have.
  explicit Winograd(CpuLevel level = cpu_level());

  // Returns whether there are loops for the level: it must be AVX2 or more.
  bool exists() const { return loops_ != nullptr; }
  // Returns whether the method can compute this convolution at this level. It must be 3x3 with stride 1, a padding of
  // at most 2 and float32, and the level must be AVX2 or more.
  bool supports(const ConvGeometry& g) const;

  // Estimates the speed of the method divided by that of the direct sum. The estimate depends only on the shape and the
  // level.
  double gain(const ConvGeometry& g, Pass pass) const;

  // These functions compute what ConvBackend's functions of the same names do. supports(g) must be true. Each call
  // transforms the filters again, because that takes less time than reading the transformed filters, which are four
  // times as large, from memory. Throws std::bad_alloc if there is no memory.
  // If cx.loops is set, forward() and backward_data() record their loops there.
  void forward(const Context& cx, const ConvGeometry& g, const float* x, const float* filter, const float* bias,
               const float* add, ConvAct act, float* y);
  // Computes what ConvBackend's function of the same name does, always. The memory of the result comes from cx.
  Tensor forward_with_statistics(const Context& cx, const ConvGeometry& g, const float* x, const float* filter,
                                 float* y);
  void backward_data(const Context& cx, const ConvGeometry& g, const float* dy, const float* filter, float* dx);
  void backward_filter(const ConvGeometry& g, const float* x, const float* dy, float* dfilter);

 private:
  // Scratch memory grows when it is needed and is kept for later calls.
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
  // The plan says how one convolution is divided into pieces of work.
  struct Plan;
  struct FilterPlan;  // The same for the gradient of the filters.

  Plan plan_of(const winograd::Problem& p) const;
  void run(const Context& cx, const winograd::Problem& p, const winograd::Filters& filters);
  std::vector<Loop> loops_by_tiles(const winograd::Problem& p, const Plan& plan, const winograd::Filters& from,
                                   const Tensor& shared) const;
  std::vector<Loop> loops_by_channels(const winograd::Problem& p, const Plan& plan, const winograd::Filters& from,
                                      const Tensor& shared) const;
  void filters_by_strands(const winograd::Problem& p, const FilterPlan& plan, const float* dy, int64_t strands,
                          winograd::Matrices<float> sums);
  void filters_by_rounds(const winograd::Problem& p, const FilterPlan& plan, const float* dy,
                         winograd::Matrices<float> sums);
  int vectors_of(const winograd::Problem& p, const Plan& plan, int64_t k0) const;

  const winograd::Loops* loops_;
  Scratch filters_, inputs_;
  std::vector<Scratch> of_thread_;
};

}  // namespace hr
