// Weight files and pose networks: which network a file is for, and loading it with a report that names the reason.
#pragma once
#include <string>

#include "hrnet/model/model.h"
#include "nn/state_dict.h"

namespace hr {

// What the tensors say. HRNet's width is that of its first branch, PoseResNet's depth follows from its blocks, the
// joints are the output channels of final_layer.
struct ModelGuess {
  std::string model;   // a name for make_model: "hrnet_w32", "pose_resnet50"; empty: none of ours
  int joints = 0;      // 0: no heatmap head: an ImageNet backbone
  std::string sister;  // the name of a network that shares HRNet's body but not its head; empty: it is none of these
  std::string
      what;  // in words: "hrnet_w32 with 17 joints", "an ImageNet backbone for hrnet_w32", "a torchvision ResNet-18"
};
ModelGuess guess_model(const WeightFile& file);

// The reason why a file does not fit a model, with a next step: "this is hrnet_w48 with 17 joints; you asked for
// hrnet_w32: --model hrnet_w48". Empty when none can be told.
std::string likely_reason(const WeightFile& file, const PoseModel& model);

// Throws the Error of load_weights if the file does not fit. The model may be declared only, without memory.
void check_weights(const WeightFile& file, const PoseModel& model);

// Strict: every entry, no other. The Error has the reason and the differences; nothing is changed then.
void load_weights(const WeightFile& file, PoseModel& model);

// A start for training: also accepts an ImageNet backbone (classification parts are left out, the heatmap head keeps
// its initial values) and, when asked, weights for another number of joints without their final_layer. Returns one line
// that says what was loaded and what was not.
std::string load_pretrained(const WeightFile& file, PoseModel& model, bool drop_final_layer);

}  // namespace hr
