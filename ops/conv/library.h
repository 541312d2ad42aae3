// What a library of a GPU is asked about a convolution, and what it answers. Who asks: ops/conv_candidates.
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
  ConvGeometry geometry;  // backward_filter: dst is the gradient's type
  Pass pass = Pass::forward;
  bool bias = false, add = false, relu = false;  // forward only
  bool tf32 = false;                             // f32 inputs may be rounded to TF32
};
// "conv forward [8, 64, 48, 256] -> 64, 1x1 stride 1 pad 0, bf16 -> bf16 + bias + relu"
std::string to_string(const ConvProblem& problem);

// The pass's tensors on the device. The pass reads two of x, filter and y (a gradient in the place of what it is the
// gradient of) and writes the third, whose pointer is `out`: y (forward), x (backward_data) or filter
// (backward_filter). Each begins at a multiple of 16 bytes.
struct ConvBuffers {
  const void *x = nullptr, *filter = nullptr, *y = nullptr;  // null: the one that is written
  void* out = nullptr;
  const void* bias = nullptr;  // [co] of y's type: with another the libraries have few kernels, or compile one for it
  const void* add = nullptr;   // like y, and never y itself
};

// One way to compute a problem.
struct ConvCandidate {
  // What it is, as long as the library's version stays the same: "cuDNN eng34 k2=1 k24=3". It begins with the library's
  // name, and holds no tab and no line end.
  std::string name;
  int64_t workspace = 0;  // bytes that `run` needs, from a multiple of 64
  // Puts the work on cx.stream; neither waits nor allocates, so it can be captured. Error: the library refuses.
  std::function<void(const Context& cx, const ConvBuffers& buffers, void* workspace)> run;
};

// Which of its kernels a library is asked for.
struct ConvSearch {
  // ready: made in advance. compiled: those that the library compiles for the problem when they are asked for, which
  // takes seconds. all: both, and what the library itself considers a last resort.
  enum class Kernels { ready, compiled, all };
  Kernels kernels = Kernels::ready;
  int at_most = std::numeric_limits<int>::max();
};

class ConvLibrary {
 public:
  virtual ~ConvLibrary() = default;
  // In the library's own order of preference, none if it cannot compute the problem. Left out are those whose sums
  // depend on timing (a run could not be repeated) and, without tf32, those that round f32 inputs.
  virtual std::vector<ConvCandidate> candidates(const ConvProblem& problem, const ConvSearch& search) = 0;
  // The candidate of that name, made without making any other; nothing if the library has none of that name for the
  // problem. The name may come from a file and need not make sense.
  virtual std::optional<ConvCandidate> find(const ConvProblem& problem, const std::string& name) = 0;
  virtual std::string description() const = 0;  // "cuDNN 9.19.0"
};

}  // namespace hr
