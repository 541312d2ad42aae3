// Determines the network of a weight file from its contents, and builds that network.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "data/formats/skeleton.h"
#include "hrnet/model/load.h"

namespace hr {

// The properties of a network that its weight file gives, in its metadata (files of ours have all fields) or by the
// names and shapes of its tensors.
struct WeightInfo {
  std::optional<std::string> model, codec, color;  // "hrnet_w32", "quarter", "rgb" or "bgr"
  std::optional<int> joints, input_h, input_w;
};
// With sizes = false, input_h and input_w are not read, so that an invalid size does no harm where it is not needed.
// Throws Error if a number in the metadata is out of range.
WeightInfo weight_info(const WeightFile& file, bool sizes = true);

// Returns the skeleton in the metadata of a checkpoint of ours, or nullopt if there is none. Throws Error if it cannot
// be read or has another number of joints than the tensors.
std::optional<Skeleton> carried_skeleton(const WeightFile& file);
// Returns a note for a user who asks for another skeleton than the one in the file; it is empty if they agree or if the
// file has none. `named` is the name of the requested skeleton in messages, such as "`keypoints_path` joints.json".
// Throws Error if the numbers of joints differ.
std::string skeleton_note(const WeightFile& file, const Skeleton& asked, const std::string& named);

// Sets the model's colour order: the one asked for, or else that of the weights, or else the model keeps its default.
// Throws Error if it is neither rgb nor bgr.
void set_color(PoseModel& model, const std::string& asked, const std::optional<std::string>& of_the_weights);

// Builds the model, loads all its weights and sets its colour order. A file of 8-bit weights (hrnet/int8/file.h) gives
// a model that computes with 8-bit integers. Arguments that are not given (empty, nullopt) are taken from the file.
// Throws Error that suggests a next step if the file does not determine them, does not fit the model, or has weights
// that are not finite. A model for inference takes no more memory than its weights (nn/parameters.h, Purpose).
std::unique_ptr<PoseModel> load_model(Context& cx, const WeightFile& file, std::string name = {},
                                      std::optional<int> joints = {}, const std::string& color = {},
                                      Purpose purpose = Purpose::inference);
std::unique_ptr<PoseModel> load_model(Context& cx, const fs::path& weights, std::string name = {},
                                      std::optional<int> joints = {}, const std::string& color = {});

}  // namespace hr
