// What a library of a GPU is asked about a convolution, and what it answers. Who asks: ops/gpu_conv.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "ops/conv_backend.h"

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

// The pass's tensors on the device, a gradient in the place of what it is the gradient of: the pass writes y (forward),
// x (backward_data) or filter (backward_filter) and reads the others. Each begins at a multiple of 16 bytes.
struct ConvBuffers {
  const void *x = nullptr, *filter = nullptr, *y = nullptr;
  const void* bias = nullptr;  // [co] of y's type: with another the libraries have few kernels, or compile one for it
  const void* add = nullptr;   // like y
};

// One way to compute a problem.
struct ConvCandidate {
  std::string name;       // "cuDNN 3": the library and a number that means the same at every start
  int64_t workspace = 0;  // bytes that `run` needs, from a multiple of 64
  // Puts the work on cx.stream; neither waits nor allocates, so it can be captured. Error: the library refuses.
  std::function<void(const Context& cx, const ConvBuffers& buffers, void* workspace)> run;
};

class ConvLibrary {
 public:
  virtual ~ConvLibrary() = default;
  // The first `at_most` in the library's own order of preference, none if it cannot compute the problem. Left out are
  // those whose sums depend on timing (a run could not be repeated) and, without tf32, those that round f32 inputs.
  virtual std::vector<ConvCandidate> candidates(const ConvProblem& problem, int at_most) = 0;
  virtual std::string description() const = 0;  // "cuDNN 9.19.0"
};

}  // namespace hr
