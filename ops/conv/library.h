// The interface to a library that computes convolutions on a GPU: a problem, and the library's candidates for computing
// it. ops/conv/candidates uses it.
#pragma once
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "ops/conv/backend.h"

namespace hr {

// One pass of a convolution.
struct ConvProblem {
  enum class Pass { forward, backward_data, backward_filter };
  ConvGeometry geometry;  // For backward_filter, dst is the type of the gradient.
  Pass pass = Pass::forward;
  bool bias = false, add = false, relu = false;  // Forward only.
  bool tf32 = false;                             // f32 inputs may be rounded to TF32.
};
// For example "conv forward [8, 64, 48, 256] -> 64, 1x1 stride 1 pad 0, bf16 -> bf16 + bias + relu".
std::string to_string(const ConvProblem& problem);

// The tensors of the pass on the device. The pass reads two of x, filter and y (a gradient takes the place of the
// tensor to which it belongs) and writes the third, whose pointer is `out`: y (forward), x (backward_data) or filter
// (backward_filter). Each begins at a multiple of 16 bytes.
struct ConvBuffers {
  const void *x = nullptr, *filter = nullptr, *y = nullptr;  // The one that is written is null.
  void* out = nullptr;
  // Pass backward_filter with an f32 result: where a candidate that computes it in bf16 shall leave that, in place of
  // widening it to `out`. Null: it always writes `out`.
  bf16* half = nullptr;
  // [co], of the type of y. With another type the libraries have few kernels, or compile one.
  const void* bias = nullptr;
  const void* add = nullptr;  // Has the shape and type of y, and is never y itself.
};

// One way to compute a problem.
struct ConvCandidate {
  // Identifies the candidate as long as the version of the library stays the same: "cuDNN eng34 k2=1 k24=3". It begins
  // with the name of the library and contains neither tabs nor line ends.
  std::string name;
  int64_t workspace = 0;  // The bytes that `run` needs, aligned to 64.
  // Submits the work to cx.stream. Neither waits nor allocates, so that it can be captured. Throws Error if the library
  // refuses.
  std::function<void(const Context& cx, const ConvBuffers& buffers, void* workspace)> run;
  bool writes_half = false;  // It leaves its result in ConvBuffers::half, if that is given.
};

// Selects which kernels of a library are requested.
struct ConvSearch {
  // ready: kernels made in advance. compiled: kernels that the library compiles for the problem on request, which takes
  // seconds. all: both, and those that the library itself considers a last resort.
  enum class Kernels { ready, compiled, all };
  Kernels kernels = Kernels::ready;
  int at_most = std::numeric_limits<int>::max();
};

class ConvLibrary {
 public:
  virtual ~ConvLibrary() = default;
  // Returns the candidates in the library's own order of preference, none if it cannot compute the problem. It leaves
  // out kernels whose sums depend on timing, because a run could not be repeated, and, without tf32, kernels that round
  // f32 inputs.
  virtual std::vector<ConvCandidate> candidates(const ConvProblem& problem, const ConvSearch& search) = 0;
  // Returns the candidate of that name, made without making any other; empty if the library has none of that name for
  // the problem. The name may come from a file and may be invalid.
  virtual std::optional<ConvCandidate> find(const ConvProblem& problem, const std::string& name) = 0;
  virtual std::string description() const = 0;  // For example "cuDNN 9.19.0".
};

}  // namespace hr
