// Convolutions on a GPU through cuDNN's graph API. This file pair is the only one that knows cuDNN, which is loaded
// when first used.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "ops/conv_backend.h"

namespace hr {

// A backend for the context's device. Plans are chosen by measurement, once per shape, and remembered on disk in
// $HRNET_CACHE, $XDG_CACHE_HOME/hrnet.cpp or ~/.cache/hrnet.cpp; a file of another GPU or cuDNN version is not used.
// Error: cuDNN is missing or too old.
std::shared_ptr<ConvBackend> make_cudnn_conv(const Context& cx);

// One convolution pass as cuDNN sees it.
struct ConvProblem {
  enum class Pass { forward, backward_data, backward_filter };
  ConvGeometry geometry;
  Pass pass = Pass::forward;
  bool bias = false, add = false, relu = false;  // forward only
  bool tf32 = false;                             // f32 inputs may be rounded to TF32
};
std::string to_string(const ConvProblem& problem);

// What cuDNN would run on a GPU that need not be here: engines in its own order of preference. `device` is a JSON
// description of the GPU's properties as cuDNN writes it (docs/gpu.md). Error: cuDNN missing.
struct ConvEngine {
  std::string name;  // "eng34"
  int64_t workspace = 0;
  bool tensor_core = false;
};
std::vector<ConvEngine> cudnn_engines(const ConvProblem& problem, const std::string& device, int at_most = 4);

// "cuDNN 9.19.0", or why it cannot be loaded.
std::string cudnn_version();
bool cudnn_available();

}  // namespace hr
