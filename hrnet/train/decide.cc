#include "hrnet/train/decide.h"

#include "core/counted.h"
#include "core/error.h"
#include "data/pack/pack.h"
#include "hrnet/infer/weight_info.h"

namespace hr {
namespace {

TrainRecipe decided(TrainRecipe r, const std::optional<WeightFile>& file) {
  const WeightInfo info = file ? weight_info(*file) : WeightInfo{};
  if (r.model.empty()) r.model = info.model.value_or("hrnet_w32");
  // The run keeps the joints that the network has learnt.
  const bool goes_on = file && (!r.resume.empty() || r.test_only);
  const std::optional<Skeleton> own = goes_on && r.keypoints_path.empty() ? carried_skeleton(*file) : std::nullopt;
  if (own && is_pack(r.data_path)) {
    const Skeleton packed = Pack(r.data_path).skeleton();
    check(packed.joints() == own->joints(), "{}: was trained with {} ({}), but {} was packed with {} ({})",
          file->path().string(), counted(own->joints(), "joint"), own->name, r.data_path, packed.joints(), packed.name);
  }
  if (own) r.skeleton = skeleton_to_text(*own);
  if (!r.joints) r.joints = own ? own->joints() : data_skeleton(r, r.keypoints_path).joints();
  if (!r.fixed_size) {
    const bool resumed = !r.resume.empty() && info.input_h && info.input_w;
    r.fixed_size = resumed ? std::array{*info.input_h, *info.input_w} : std::array{256, 192};
  }
  if (r.color.empty()) r.color = info.color.value_or("");
  return r;
}

}  // namespace

TrainRecipe resolve_resume(TrainRecipe r, const World& world) {
  const fs::path last = fs::path(r.output_dir) / "last.safetensors";
  if (r.resume == "auto") {
    r.resume = fs::exists(last) ? last.string() : "";
    if (!r.resume.empty()) {  // The checkpoint has the weights of the run.
      r.weights.clear();
      r.drop_final_layer = false;
    }
  }
  if (!world.ranks.resume.empty()) {
    r.resume = world.ranks.resume;
    r.weights.clear();
    r.drop_final_layer = false;
    r.start_epoch = 0;
  }
  return r;
}

std::optional<WeightFile> open_weights(const TrainRecipe& r) {
  if (r.weights.empty() && r.resume.empty()) return {};
  return WeightFile(fs::path(r.resume.empty() ? r.weights : r.resume));
}

TrainRecipe decide_recipe(TrainRecipe r, const std::optional<WeightFile>& file, const World& world) {
  if (world.size() == 1) return decided(std::move(r), file);
  require_agreement(world, facts_of(r, world));
  Packer choice;
  if (world.first()) {
    r = decided(std::move(r), file);
    choice.text(r.model).text(r.color).text(r.skeleton).u32(static_cast<uint32_t>(*r.joints));
    for (const int side : *r.fixed_size) choice.u32(static_cast<uint32_t>(side));
  }
  const std::string first = world.control->all_gather(choice.str())[0];
  Unpack in(first);
  r.model = in.text();
  r.color = in.text();
  r.skeleton = in.text();
  r.joints = static_cast<int>(in.u32());
  r.fixed_size.emplace();
  for (int& side : *r.fixed_size) side = static_cast<int>(in.u32());
  parse_device(r.device);  // Throws the same Error on all ranks if there is no GPU at all.
  if (r.device == "cuda") r.device = fmt::format("cuda:{}", world.ranks.local_rank);
  return r;
}

}  // namespace hr
