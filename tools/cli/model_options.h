// The options of every program with a network, and what the programs start from with them.
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

// First line of a main that computes. GNU OpenMP's threads spin for milliseconds at every barrier; with loader threads
// or another program on the same cores a step then takes 3 to 10 times as long. The spin limit is read when the library
// is loaded, so the program starts itself once more with GOMP_SPINCOUNT set, unless the caller chose a policy.
void limit_openmp_spinning(char** argv);

// --model, --num-joints, --device, --amp, --tf32, --threads.
void add_network_options(CLI::App& app, ModelOptions& options);
// Those, and what pictures and people need: --fixed-size (--resize-hw), --keypoints-path (--label-json-path), --color.
// --weights is each program's own: its meaning differs.
void add_model_options(CLI::App& app, ModelOptions& options);
// --weights (--weights-path), required.
void add_weights(CLI::App& app, ModelOptions& options);

// --codec, --blur, --flip/--no-flip, --shift-heatmap/--no-shift
void add_decoding_options(CLI::App& app, DecodingOptions& options);

// For make_context: what the ops remark on is printed as a note on stderr.
ContextOptions context_options(const ModelOptions& options);
// Prints "note: remark" on stderr.
void print_remark(const std::string& remark);

// Everything that predicting and validating start from.
struct LoadedModel {
  Context cx;
  WeightInfo info;
  std::unique_ptr<PoseModel> model;
  Skeleton skeleton;  // of model->joints() joints: what --keypoints-path says, else the file's own, else COCO's
  std::string note;   // about it
  int input_h = 256, input_w = 192;
};
LoadedModel load_model(const ModelOptions& options);

}  // namespace hr
