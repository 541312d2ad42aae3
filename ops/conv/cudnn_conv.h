// Convolutions on a GPU through cuDNN's graph API. Only the files cudnn_* know cuDNN, which is loaded at its first
// use.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ops/conv/library.h"

namespace hr {

// Opens cuDNN on the current device. Its candidates have a workspace of at most 1 GiB and are named by engine and
// knobs. Throws Error if cuDNN is missing or too old.
std::unique_ptr<ConvLibrary> open_cudnn();

// An engine that cuDNN would run on a GPU that need not be present, in cuDNN's own order of preference. `device` is a
// JSON description of the GPU's properties in cuDNN's form (tests/ops/h200.json). Throws Error if cuDNN is missing.
struct ConvEngine {
  std::string name;  // For example "eng34 k2=1 k24=3": the number of the engine, then its knobs by type.
  int64_t workspace = 0;
  bool tensor_core = false, compiled = false;
};
std::vector<ConvEngine> cudnn_engines(const ConvProblem& problem, const std::string& device, const ConvSearch& search);
// Returns the engine of that name, planned without the others; empty if there is none.
std::optional<ConvEngine> cudnn_engine(const ConvProblem& problem, const std::string& device, const std::string& name);

// Returns for example "cuDNN 9.19.0", or the reason why it cannot be loaded.
std::string cudnn_version();
bool cudnn_available();

}  // namespace hr
