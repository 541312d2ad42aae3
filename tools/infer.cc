#include "tools/infer.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "core/parallel.h"
#include "eval/flip.h"
#include "tools/cli.h"
#include "tools/validate.h"

namespace hr {

void limit_openmp_spinning(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", "10000", 1);  // about 20 microseconds, longer than most gaps between two parallel regions
  ::execv("/proc/self/exe", argv);
  // Without /proc the program simply goes on as it is.
}

Context make_context(const std::string& device, bool amp, int threads) {
  Context cx;
  cx.device = parse_device(device);
  cx.precision = amp ? DType::bf16 : DType::f32;
  if (threads > 0) set_compute_threads(threads);
  pin_compute_threads();
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
  add_device(app, o.device);
  add_threads(app, o.threads);
}

void add_model_options(CLI::App& app, ModelOptions& o) {
  add_network_options(app, o);
  add_fixed_size(app, o.fixed_size);
  app.add_option("--keypoints-path,--label-json-path", o.keypoints_path, "skeleton file; COCO's 17 joints are built in")
      ->type_name("FILE");
  app.add_option("--color", o.color,
                 "order of the input's channels, rgb or bgr [default: the weights'; where they do not say, bgr for "
                 "pose_resnet, as its published weights want it, and rgb for hrnet]")
      ->type_name("ORDER")
      ->check(CLI::IsMember({"rgb", "bgr"}));
}

WeightInfo weight_info(const WeightFile& file) {
  WeightInfo info;
  const auto text = [&](const char* key) -> std::optional<std::string> {
    const auto it = file.metadata().find(key);
    return it == file.metadata().end() ? std::nullopt : std::optional(it->second);
  };
  const auto number = [&](const char* key) -> std::optional<int> {
    const auto value = text(key);
    int n = 0;
    if (!value || std::from_chars(value->data(), value->data() + value->size(), n).ec != std::errc()) return {};
    return n;
  };
  info.codec = text("codec");
  info.input_h = number("input_h");
  info.input_w = number("input_w");
  info.color = text("color");
  // mmpose turns pictures to RGB for every network.
  if (!info.color && file.wrapper().writer == Wrapper::Writer::mmpose) info.color = "rgb";
  // The tensors know better than any text.
  const ModelGuess guess = guess_model(file);
  info.model = guess.model.empty() ? text("model") : guess.model;
  info.joints = guess.joints > 0 ? guess.joints : number("joints");
  return info;
}

void set_color(PoseModel& model, const std::string& asked, const std::optional<std::string>& of_the_weights) {
  const std::string color = asked.empty() ? of_the_weights.value_or("") : asked;
  if (color.empty()) return;  // the architecture's
  check(color == "rgb" || color == "bgr", "the weights' colour order is '{}'; expected rgb or bgr", color);
  model.set_bgr_input(color == "bgr");
}

std::unique_ptr<PoseModel> load_model(Context& cx, const WeightFile& file, std::string name, std::optional<int> joints,
                                      const std::string& color) {
  const WeightInfo info = weight_info(file);
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
  auto model = make_model(cx, name, *joints, 0, Init::none);
  load_weights(file, *model);
  set_color(*model, color, info.color);
  return model;
}

std::unique_ptr<PoseModel> load_model(Context& cx, const fs::path& weights, std::string name, std::optional<int> joints,
                                      const std::string& color) {
  return load_model(cx, WeightFile(weights), std::move(name), joints, color);
}

LoadedModel load_model(const ModelOptions& o) {
  LoadedModel loaded{.cx = make_context(o.device, o.amp, o.threads)};
  const WeightFile file(o.weights);
  loaded.info = weight_info(file);
  loaded.model = load_model(loaded.cx, file, o.model, o.joints, o.color);
  loaded.skeleton = load_skeleton(o.keypoints_path, loaded.model->joints());
  loaded.input_h = o.fixed_size ? (*o.fixed_size)[0] : loaded.info.input_h.value_or(256);
  loaded.input_w = o.fixed_size ? (*o.fixed_size)[1] : loaded.info.input_w.value_or(192);
  return loaded;
}

HeatmapRunner::HeatmapRunner(const Context& cx, const PoseModel& model, std::vector<int> mirror, Options options)
    : cx_(cx), model_(model), mirror_(std::move(mirror)), options_(options) {
  cx_.tape = nullptr;
  cx_.training = false;
  // Its own memory pool: what inference frees must not fragment a training step's.
  cx_.allocator = std::make_shared<CachingAllocator>();
}

Heatmaps HeatmapRunner::operator()(std::span<const float> images, int n, int h, int w) {
  const size_t row = static_cast<size_t>(w) * 3, image = row * h;
  check(images.size() == image * n, "heatmaps: expected {} x {} x {} x 3 numbers, got {}", n, h, w, images.size());
  const int passes = options_.flip ? 2 : 1;
  const std::array<int, 3> key{n * passes, h, w};
  auto& arena = arenas_[key];
  Tensor& input = inputs_[key];
  if (!arena) {
    arena = std::make_shared<Arena>(cx_.allocator);
    input = cx_.empty({n * passes, h, w, 3}, DType::f32);
  }
  float* x = input.data<float>();
  std::memcpy(x, images.data(), images.size_bytes());
  if (options_.flip) {
    float* mirrored = x + images.size();
    for (size_t line = 0; line < images.size() / row; ++line) {
      const float* from = images.data() + line * row;
      for (int i = 0; i < w; ++i)
        std::memcpy(mirrored + line * row + static_cast<size_t>(i) * 3, from + static_cast<size_t>(w - 1 - i) * 3, 12);
    }
  }
  Context step = cx_;
  step.allocator = arena;
  int hh = 0, hw = 0;
  arena->begin_step();
  try {
    const Tensor y = model_.forward(step, input);
    hh = static_cast<int>(y.dim(1));
    hw = static_cast<int>(y.dim(2));
    const auto* out = y.data<float>();
    const size_t one = static_cast<size_t>(n) * hh * hw * model_.joints();
    heatmaps_.resize(one);
    const Heatmaps maps{out, n, hh, hw, model_.joints()};
    if (options_.flip) {
      flip_average(maps, {out + one, n, hh, hw, model_.joints()}, mirror_, options_.shift, heatmaps_);
    } else {
      std::memcpy(heatmaps_.data(), out, one * sizeof(float));
    }
  } catch (...) {
    arena->abort_step();
    throw;
  }
  arena->end_step();
  cx_.ops = step.ops;  // compiled primitives are worth keeping
  return {heatmaps_.data(), n, hh, hw, model_.joints()};
}

}  // namespace hr
