#include "tools/programs/infer.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/branches.h"
#include "core/counted.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/conv/backend.h"
#include "tools/programs/cli.h"

namespace hr {

void limit_openmp_spinning(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "10000", 1);  // about 20 microseconds, longer than most gaps between two parallel regions
  ::execv("/proc/self/exe", argv);
  // Without /proc the program simply goes on as it is.
}

Context make_context(const std::string& device, bool amp, int threads, bool tf32) {
  Context cx;
  cx.device = parse_device(device);
  cx.precision = amp ? DType::bf16 : DType::f32;
  cx.tf32 = tf32;
  if (threads > 0) set_compute_threads(threads);
  if (!cx.device.is_cuda()) {
    check(!tf32, "--tf32: is a number format of GPUs; leave it out with --device {}", device);
    pin_compute_threads();
    return cx;
  }
  cuda::use_device(cx.device.index);
  const cuda::DeviceInfo info = cuda::device_info(cx.device.index);
  check(!amp || info.major >= 8, "--amp: {} (compute capability {}.{}) has no bf16; leave --amp out", info.name,
        info.major, info.minor);
  constexpr int kBranches = 4;  // of HRNet's last stages
  cx.stream = cuda::create_stream();
  if (const int count = side_stream_count(kBranches - 1); count > 0) {
    cx.side_streams = std::make_shared<SideStreams>(count);
  }
  cx.allocator = std::make_shared<CachingAllocator>(CachingAllocator::gpu());
  conv_backend(cx);  // a missing cuDNN is told now, not at the first convolution
  return cx;
}

void add_weights(CLI::App& app, ModelOptions& o) {
  app.add_option("--weights,--weights-path", o.weights, "weights: safetensors or PyTorch's .pth")
      ->required()
      ->type_name("FILE");
}

void add_network_options(CLI::App& app, ModelOptions& o) {
  app.add_option("--model", o.model,
                 "hrnet_wC for any width C, pose_resnet50, pose_resnet101 or pose_resnet152 [default: the weights']")
      ->type_name("NAME");
  app.add_option("--num-joints", o.joints, "joints of the model [default: the weights']")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_flag("--amp", o.amp, "bf16 activations; weights, statistics and moments stay float32");
  app.add_flag("--tf32", o.tf32, "on a GPU: float32 convolutions may round their inputs to TF32 (faster, 3 digits)");
  add_device(app, o.device);
  add_threads(app, o.threads);
}

void add_model_options(CLI::App& app, ModelOptions& o) {
  add_network_options(app, o);
  add_fixed_size(app, o.fixed_size);
  app.add_option(
         "--keypoints-path,--label-json-path", o.keypoints_path,
         "skeleton: a built-in name (coco, mpii, crowdpose, aic, halpe26, coco_wholebody, ap10k), a file, or, where "
         "annotations are read, `categories` for the one that they describe [default: the one that the checkpoint "
         "carries, else coco]")
      ->type_name("FILE");
  app.add_option("--color", o.color,
                 "order of the input's channels, rgb or bgr [default: the weights'; where they do not say, bgr for "
                 "pose_resnet, as its published weights want it, and rgb for hrnet]")
      ->type_name("ORDER")
      ->check(CLI::IsMember({"rgb", "bgr"}));
}

WeightInfo weight_info(const WeightFile& file, bool sizes) {
  WeightInfo info;
  const auto text = [&](const char* key) -> std::optional<std::string> {
    const auto it = file.metadata().find(key);
    return it == file.metadata().end() ? std::nullopt : std::optional(it->second);
  };
  // The same limits as those of --fixed-size. Memory is allocated by these numbers.
  const auto side = [&](const char* key) -> std::optional<int> { return file.metadata_number(key, 32, 4096, 32); };
  info.codec = text("codec");
  if (sizes) {
    info.input_h = side("input_h");
    info.input_w = side("input_w");
  }
  info.color = text("color");
  // mmpose turns pictures to RGB for every network.
  if (!info.color && file.wrapper().writer == Wrapper::Writer::mmpose) info.color = "rgb";
  // The tensors know better than any text.
  const ModelGuess guess = guess_model(file);
  info.model = guess.model.empty() ? text("model") : guess.model;
  constexpr int kMaxJoints = 10'000;
  const std::optional<int> said = file.metadata_number("joints", 1, kMaxJoints);
  info.joints = guess.joints > 0 ? guess.joints : said;
  return info;
}

void set_color(PoseModel& model, const std::string& asked, const std::optional<std::string>& of_the_weights) {
  const std::string color = asked.empty() ? of_the_weights.value_or("") : asked;
  if (color.empty()) return;  // the architecture's
  check(color == "rgb" || color == "bgr", "the weights' colour order is '{}'; expected rgb or bgr", color);
  model.set_bgr_input(color == "bgr");
}

namespace {
// A ReLU turns NaN into 0 on some processors, so that a damaged weight would give poses that look like any others.
void check_finite(const WeightFile& file, const PoseModel& model) {
  for (const auto& entry : model.parameters().entries()) {
    const ArrayView* array = entry.counter != nullptr ? nullptr : file.find(entry.name());
    if (array == nullptr) continue;
    const std::vector<float> values = array->to_f32();
    const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
    check(bad == values.end(),
          "{}: {}: element {} is {}, which is not finite; the file is damaged or its training has diverged, use "
          "another checkpoint",
          file.path().string(), entry.name(), bad - values.begin(),
          bad == values.end() ? ""
          : std::isnan(*bad)  ? "NaN"
                              : "infinity");
  }
}
}  // namespace

std::unique_ptr<PoseModel> load_model(Context& cx, const WeightFile& file, std::string name, std::optional<int> joints,
                                      const std::string& color) {
  const WeightInfo info = weight_info(file, false);
  const ModelGuess guess = guess_model(file);
  if (name.empty()) {
    check(info.model.has_value(), "{}: holds {}; name the network with --model if it is one all the same",
          file.path().string(), guess.what);
    name = *info.model;
  }
  if (!joints) {
    check(
        info.joints.has_value(),
        "{}: this is {}, which has no heatmap head; pose weights are needed here, `train --weights` makes them from it",
        file.path().string(), guess.what);
    joints = info.joints;
  }
  // The file alone says how large the network is, so it has to have all of its tensors before memory is taken for it.
  check_weights(file, *declare_model(name, *joints));
  auto model = make_model(cx, name, *joints, 0, Init::none);
  load_weights(file, *model);
  check_finite(file, *model);
  set_color(*model, color, info.color);
  return model;
}

std::unique_ptr<PoseModel> load_model(Context& cx, const fs::path& weights, std::string name, std::optional<int> joints,
                                      const std::string& color) {
  return load_model(cx, WeightFile(weights), std::move(name), joints, color);
}

namespace {
int joints_of_the_tensors(const WeightFile& file, const Skeleton& skeleton) {
  const int joints = guess_model(file).joints;
  return joints > 0 ? joints : skeleton.joints();
}
}  // namespace

std::optional<Skeleton> carried_skeleton(const WeightFile& file) {
  const auto found = file.metadata().find("skeleton");
  if (found == file.metadata().end()) return std::nullopt;
  Skeleton skeleton = skeleton_from_text(found->second, file.path().string() + ": the skeleton in its metadata");
  const int joints = joints_of_the_tensors(file, skeleton);
  check(skeleton.joints() == joints,
        "{}: the skeleton in its metadata ({}) has {}, but its tensors are a network for {}; name the right skeleton "
        "with --keypoints-path",
        file.path().string(), skeleton.name, counted(skeleton.joints(), "joint"), joints);
  return skeleton;
}

std::string skeleton_note(const WeightFile& file, const Skeleton& asked, const std::string& named) {
  std::optional<Skeleton> carried;
  try {
    carried = carried_skeleton(file);
  } catch (const Error&) {
    return "";  // what the user names replaces it
  }
  if (!carried) return "";
  check(asked.joints() == carried->joints(),
        "{}: has {}, but {} was trained with {} ({}); leave the flag out to use its own skeleton", named,
        counted(asked.joints(), "joint"), file.path().string(), carried->joints(), carried->name);
  const std::string difference = skeleton_difference(asked, *carried);
  if (difference.empty()) return "";
  return fmt::format("{} is used, although {} was trained with another skeleton ({}): {}", named, file.path().string(),
                     carried->name, difference);
}

LoadedModel load_model(const ModelOptions& o) {
  LoadedModel loaded{.cx = make_context(o.device, o.amp, o.threads, o.tf32)};
  const WeightFile file(o.weights);
  loaded.info = weight_info(file, !o.fixed_size);
  loaded.model = load_model(loaded.cx, file, o.model, o.joints, o.color);
  const int joints = loaded.model->joints();
  if (!o.keypoints_path.empty()) {
    check(o.keypoints_path != "categories" || fs::exists(o.keypoints_path),
          "--keypoints-path categories: no annotation file is read here; name a skeleton file, or leave the flag out "
          "for a checkpoint that carries its skeleton");
    loaded.skeleton = find_skeleton(o.keypoints_path);
    loaded.note = skeleton_note(file, loaded.skeleton, "--keypoints-path " + o.keypoints_path);
    check(loaded.skeleton.joints() == joints, "--keypoints-path {}: has {}, but {} is a network for {}",
          o.keypoints_path, counted(loaded.skeleton.joints(), "joint"), o.weights, joints);
  } else if (std::optional<Skeleton> own = carried_skeleton(file)) {
    loaded.skeleton = *std::move(own);
  } else {
    loaded.skeleton = coco_skeleton();
    check(loaded.skeleton.joints() == joints,
          "{}: is a network for {} and does not say which; COCO's skeleton has {}, so name the right one with "
          "--keypoints-path",
          o.weights, counted(joints, "joint"), loaded.skeleton.joints());
  }
  loaded.input_h = o.fixed_size ? (*o.fixed_size)[0] : loaded.info.input_h.value_or(256);
  loaded.input_w = o.fixed_size ? (*o.fixed_size)[1] : loaded.info.input_w.value_or(192);
  return loaded;
}

std::shared_ptr<Allocator> batch_memory(const Device& device) {
  return device.is_cuda() ? std::make_shared<CachingAllocator>(CachingAllocator::pinned(device.index)) : nullptr;
}

LoaderOptions loader_for(const Device& device, LoaderOptions options) {
  if (!device.is_cuda()) return options;
  options.sources = std::exchange(options.images, false);
  options.profiles = std::exchange(options.targets, false);
  options.allocator = batch_memory(device);
  return options;
}

}  // namespace hr
