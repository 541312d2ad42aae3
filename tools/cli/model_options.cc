#include "tools/cli/model_options.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "core/counted.h"
#include "core/error.h"
#include "tools/cli/cli.h"
#include "tools/cli/flag_names.h"

namespace hr {

void limit_openmp_spinning(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "10000", 1);  // about 20 microseconds, longer than most gaps between two parallel regions
  ::execv("/proc/self/exe", argv);
  // Without /proc the program continues with the usual spinning.
}

void add_weights(CLI::App& app, ModelOptions& o) {
  app.add_option("--weights,--weights-path", o.weights, "weights of the network: safetensors, PyTorch's .pth or ONNX")
      ->required()
      ->type_name("FILE");
}

void add_precision(CLI::App& app, std::string& precision, bool& amp) {
  app.add_option("--precision", precision,
                 "f32, bf16 (activations; weights, statistics and moments stay float32), int8 (weights that `convert "
                 "--calibrate` made; they need no flag) or auto: the faster of f32 and bf16, measured once on this "
                 "processor [default: f32]")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}));
  app.add_flag("--amp", amp, "the same as --precision bf16");
}

void add_network_options(CLI::App& app, ModelOptions& o) {
  app.add_option(
         "--model", o.model,
         "network: hrnet_wC for any width C, pose_resnet50, pose_resnet101 or pose_resnet152 [default: the weights']")
      ->type_name("NAME");
  app.add_option("--num-joints", o.joints, "number of joints of the network [default: the weights']")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  add_precision(app, o.precision, o.amp);
  app.add_flag("--tf32", o.tf32,
               "on a GPU: let float32 convolutions round their inputs to TF32 (faster, about 3 digits)");
  app.add_flag("--exact", o.exact,
               "on the CPU: sum float32 convolutions directly; Winograd's method is faster and rounds differently");
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
                 "order of the input's channels, rgb or bgr [default: the weights'; if they do not say, bgr for "
                 "pose_resnet, as its published weights need it, and rgb for hrnet]")
      ->type_name("ORDER")
      ->check(CLI::IsMember({"rgb", "bgr"}));
}

void add_decoding_options(CLI::App& app, DecodingOptions& o) {
  app.add_option("--codec", o.codec,
                 "how the peak of a heatmap becomes a coordinate: argmax, quarter (the official one), msra, dark or "
                 "udp [default: the weights', else quarter]")
      ->type_name("NAME")
      ->check(CLI::IsMember({"argmax", "quarter", "msra", "dark", "udp"}));
  app.add_option(
         "--blur", o.blur,
         "dark and udp: size of the blur in heatmap pixels, odd [default: 11, or 17 from an input height of 384 on]")
      ->type_name("PIXELS");
  app.add_flag("--flip,!--no-flip", o.flip,
               "average the heatmaps with those of the mirrored picture (on by default; --no-flip turns it off)");
  app.add_flag_function(
      "--shift-heatmap,!--no-shift", [&o](int64_t count) { o.shift = count > 0; },
      "shift the mirrored heatmaps by one column, as the published weights need it [default: on, except for udp]");
}

void print_remark(const std::string& remark) { fmt::print(stderr, "note: {}\n", with_flags(remark)); }

ContextOptions context_options(const ModelOptions& o) {
  return {.device = o.device,
          .amp = o.amp,
          .threads = o.threads,
          .tf32 = o.tf32,
          .exact = o.exact,
          .listener = print_remark};
}

LoadedModel load_model(const ModelOptions& o) {
  LoadedModel loaded{.cx = make_context(context_options(o))};
  const WeightFile file(o.weights);
  loaded.info = weight_info(file, !o.fixed_size);
  loaded.model = load_model(loaded.cx, file, o.model, o.joints, o.color);
  const int joints = loaded.model->joints();
  if (!o.keypoints_path.empty()) {
    check(o.keypoints_path != "categories" || fs::exists(o.keypoints_path),
          "--keypoints-path categories: no annotation file is read here; name a skeleton file, or leave out the flag "
          "if the checkpoint carries its skeleton");
    loaded.skeleton = find_skeleton(o.keypoints_path);
    loaded.note = skeleton_note(file, loaded.skeleton, "--keypoints-path " + o.keypoints_path);
    check(loaded.skeleton.joints() == joints,
          "--keypoints-path {} has {}, but {} is a network for {}; name the skeleton that the network was trained with",
          o.keypoints_path, counted(loaded.skeleton.joints(), "joint"), o.weights, joints);
  } else if (std::optional<Skeleton> own = carried_skeleton(file)) {
    loaded.skeleton = *std::move(own);
  } else {
    loaded.skeleton = coco_skeleton();
    check(loaded.skeleton.joints() == joints,
          "{} is a network for {} and does not name them, and COCO's skeleton has {}; name the right skeleton with "
          "--keypoints-path",
          o.weights, counted(joints, "joint"), loaded.skeleton.joints());
  }
  loaded.input_h = o.fixed_size ? (*o.fixed_size)[0] : loaded.info.input_h.value_or(256);
  loaded.input_w = o.fixed_size ? (*o.fixed_size)[1] : loaded.info.input_w.value_or(192);
  return loaded;
}

}  // namespace hr
