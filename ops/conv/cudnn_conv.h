// Convolutions on a GPU through cuDNN's graph API. This file pair is the only one that knows cuDNN, which is loaded
// when first used.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ops/conv/library.h"

namespace hr {

// cuDNN on the current device. Its candidates have a workspace of at most 1 GiB and are named by engine and knobs.
// Error: cuDNN is missing or too old.
std::unique_ptr<ConvLibrary> open_cudnn();

// What cuDNN would run on a GPU that need not be here: engines in its own order of preference. `device` is a JSON
// description of the GPU's properties as cuDNN writes it (docs/gpu.md). Error: cuDNN missing.
struct ConvEngine {
  std::string name;  // "eng34 k2=1 k24=3": the engine's number, then its knobs by type
  int64_t workspace = 0;
  bool tensor_core = false, compiled = false;
};
std::vector<ConvEngine> cudnn_engines(const ConvProblem& problem, const std::string& device, const ConvSearch& search);
// The one of that name, planned without the others; nothing if there is none.
std::optional<ConvEngine> cudnn_engine(const ConvProblem& problem, const std::string& device, const std::string& name);

// "cuDNN 9.19.0", or why it cannot be loaded.
std::string cudnn_version();
bool cudnn_available();

}  // namespace hr
