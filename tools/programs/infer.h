// What every program with a network starts from: its options, a device, a model with weights.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "data/formats/skeleton.h"
#include "data/loader.h"
#include "hrnet/model/load.h"

namespace hr {

// First line of a main that computes. GNU OpenMP's threads spin for milliseconds at every barrier; with loader threads
// or another program on the same cores a step then takes 3 to 10 times as long. The spin limit is read when the library
// is loaded, so the program starts itself once more with GOMP_SPINCOUNT set, unless the caller chose a policy.
void limit_openmp_spinning(char** argv);

// A context as the flags ask for it. threads = 0: every core. amp: bf16 activations.
// Error: no such device, no driver or one too old, a GPU that this program has no code for, --amp on a GPU without
// bf16, no cuDNN. Never another device or precision than asked for.
Context make_context(const std::string& device, bool amp, int threads, bool tf32 = false);

// The options of every program with a network. A program's own options derive from them.
struct ModelOptions {
  std::string weights, model, keypoints_path, color, device = "cpu";
  std::optional<int> joints;
  std::optional<std::array<int, 2>> fixed_size;  // height, width
  int threads = 0;
  bool amp = false, tf32 = false;
};
// --model, --num-joints, --device, --amp, --tf32, --threads.
void add_network_options(CLI::App& app, ModelOptions& options);
// Those, and what pictures and people need: --fixed-size (--resize-hw), --keypoints-path (--label-json-path), --color.
// --weights is each program's own: its meaning differs.
void add_model_options(CLI::App& app, ModelOptions& options);
// --weights (--weights-path), required.
void add_weights(CLI::App& app, ModelOptions& options);

// What a weight file says about itself: its metadata (ours has all of it), else what its tensors tell.
struct WeightInfo {
  std::optional<std::string> model, codec, color;  // "hrnet_w32", "quarter", "rgb" or "bgr"
  std::optional<int> joints, input_h, input_w;
};
// sizes = false: input_h and input_w are not needed, so they are not looked at.
WeightInfo weight_info(const WeightFile& file, bool sizes = true);

// The skeleton that a checkpoint of ours carries in its metadata; nullopt: the file does not say. Throws Error if it
// cannot be read or has another number of joints than the tensors.
std::optional<Skeleton> carried_skeleton(const WeightFile& file);
// What to tell a user who names another skeleton than the file carries; empty if they agree or the file has none.
// `named`: "--keypoints-path joints.json". Throws Error if the numbers of joints differ.
std::string skeleton_note(const WeightFile& file, const Skeleton& asked, const std::string& named);

// The model's colour order: what was asked for, else the weights', else its own default.
void set_color(PoseModel& model, const std::string& asked, const std::optional<std::string>& of_the_weights);

// Builds the model and loads the weights, strictly. What is not asked for (empty, nullopt) is taken from the file;
// Error with the next step when the file does not tell, or tells another. Sets the model's colour order.
std::unique_ptr<PoseModel> load_model(Context& cx, const WeightFile& file, std::string name = {},
                                      std::optional<int> joints = {}, const std::string& color = {});
std::unique_ptr<PoseModel> load_model(Context& cx, const fs::path& weights, std::string name = {},
                                      std::optional<int> joints = {}, const std::string& color = {});

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

// Where batches for a device lie: in pinned memory, which a GPU reads by itself; null, the heap, for the CPU.
std::shared_ptr<Allocator> batch_memory(const Device& device);
// What a loader makes for a device, and where: a GPU makes images and targets by itself; for the CPU the workers do.
LoaderOptions loader_for(const Device& device, LoaderOptions options);

}  // namespace hr
