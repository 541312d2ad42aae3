// Recognises which network a weight file belongs to, and loads pose networks with errors that give the reason.
#pragma once
#include <string>

#include "hrnet/model/model.h"
#include "nn/state_dict.h"

namespace hr {

// The network that the tensors of a file belong to. HRNet's width is the number of channels of its first branch,
// PoseResNet's depth follows from its number of blocks, and the joints are the output channels of final_layer.
struct ModelGuess {
  std::string model;   // A name for make_model: "hrnet_w32", "pose_resnet50"; empty if the library has no such network.
  int joints = 0;      // 0 if there is no heatmap head, as in an ImageNet backbone
  std::string sister;  // Another network with HRNet's body, such as HigherHRNet; empty if it is none of these.
  std::string
      what;  // In words: "hrnet_w32 with 17 joints", "an ImageNet backbone for hrnet_w32", "a torchvision ResNet-18".
};
ModelGuess guess_model(const WeightFile& file);

// The likely reason why a file does not fit a model, with a next step: "this is hrnet_w48 with 17 joints; you asked for
// hrnet_w32: `model` hrnet_w48". Empty if there is none to tell.
std::string likely_reason(const WeightFile& file, const PoseModel& model);

// Returns whether the file holds weights of 8 bits (hrnet/int8/file.h), which are for inference on the CPU. The
// functions below refuse them.
bool is_int8(const WeightFile& file);

// Throws the Error of load_weights if the file does not fit the model, which may be without memory (declare_model).
void check_weights(const WeightFile& file, const PoseModel& model);

// Loads all entries. Throws Error with the reason and the differences if the file lacks an entry or has another one;
// then the model is unchanged.
void load_weights(const WeightFile& file, PoseModel& model);

// Loads initial weights for training. It also accepts an ImageNet backbone (the parts for classification are left out,
// and the heatmap head keeps its initial values) and, with drop_final_layer, weights for another number of joints,
// whose final_layer is left out. Returns one line that says what was loaded and what was not. Throws Error as
// load_weights does.
std::string load_pretrained(const WeightFile& file, PoseModel& model, bool drop_final_layer);

}  // namespace hr
