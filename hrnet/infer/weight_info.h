// What a weight file says about itself, and the network that is made from it.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "data/formats/skeleton.h"
#include "hrnet/model/load.h"

namespace hr {

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
// `named`: how messages call what was asked for, such as "`keypoints_path` joints.json". Throws Error if the numbers of
// joints differ.
std::string skeleton_note(const WeightFile& file, const Skeleton& asked, const std::string& named);

// The model's colour order: what was asked for, else the weights', else its own default.
void set_color(PoseModel& model, const std::string& asked, const std::optional<std::string>& of_the_weights);

// Builds the model and loads the weights, strictly. What is not asked for (empty, nullopt) is taken from the file;
// Error with the next step when the file does not tell, or tells another. Sets the model's colour order.
std::unique_ptr<PoseModel> load_model(Context& cx, const WeightFile& file, std::string name = {},
                                      std::optional<int> joints = {}, const std::string& color = {});
std::unique_ptr<PoseModel> load_model(Context& cx, const fs::path& weights, std::string name = {},
                                      std::optional<int> joints = {}, const std::string& color = {});

}  // namespace hr
