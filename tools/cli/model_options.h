// The options of every program with a network, and how the programs load the network with them.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "hrnet/infer/decoding.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/model/make_context.h"
#include "hrnet/model/model_options.h"

namespace hr {

// Call this on the first line of a main() that computes. GNU OpenMP's threads spin for milliseconds at every barrier;
// with loader threads or another program on the same cores a step then takes 3 to 10 times as long. The spin limit is
// read when the library is loaded, so the program starts itself once more with GOMP_SPINCOUNT set, unless the caller
// has set a policy.
void limit_openmp_spinning(char** argv);

// Adds --precision and --amp.
void add_precision(CLI::App& app, std::string& precision, bool& amp);
// Adds --model, --num-joints, --device, --amp, --tf32, --threads.
void add_network_options(CLI::App& app, ModelOptions& options);
// Adds those, and the flags that pictures and people need: --fixed-size (--resize-hw), --keypoints-path
// (--label-json-path), --color. Each program adds --weights itself, because its meaning differs.
void add_model_options(CLI::App& app, ModelOptions& options);
// Adds --weights (--weights-path), which is required.
void add_weights(CLI::App& app, ModelOptions& options);

// Adds --codec, --blur, --flip/--no-flip, --shift-heatmap/--no-shift.
void add_decoding_options(CLI::App& app, DecodingOptions& options);

// The options for make_context. Remarks of the ops are printed as notes on stderr.
ContextOptions context_options(const ModelOptions& options);
// Prints "note: remark" on stderr.
void print_remark(const std::string& remark);

// The loaded network and everything else that predicting and validating need first.
struct LoadedModel {
  Context cx;
  WeightInfo info;
  std::unique_ptr<PoseModel> model;
  Skeleton skeleton;  // of model->joints() joints: what --keypoints-path says, else the file's own, else COCO's
  std::string note;   // a note about the skeleton, to be printed; may be empty
  int input_h = 256, input_w = 192;
};
LoadedModel load_model(const ModelOptions& options);

}  // namespace hr
