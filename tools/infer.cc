#include "tools/infer.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "core/parallel.h"
#include "eval/flip.h"
#include "nn/state_dict.h"

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

WeightInfo weight_info(const SafetensorsFile& file) {
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
  info.model = text("model");
  info.codec = text("codec");
  info.joints = number("joints");
  info.input_h = number("input_h");
  info.input_w = number("input_w");
  return info;
}

std::unique_ptr<PoseModel> load_model(Context& cx, const fs::path& weights, std::string name, int joints) {
  const SafetensorsFile file(weights);
  const WeightInfo info = weight_info(file);
  if (name.empty()) {
    check(info.model.has_value(),
          "{}: does not say which model it is for; name it with --model, for example --model hrnet_w32",
          weights.string());
    name = *info.model;
  }
  check(!info.model || *info.model == name,
        "{}: holds weights of {}, --model asks for {}; leave --model out to take the file's", weights.string(),
        info.model.value_or(""), name);
  check(!info.joints || *info.joints == joints, "{}: holds a model of {} joints, --num-joints asks for {}",
        weights.string(), info.joints.value_or(0), joints);
  auto model = make_model(cx, name, joints, 0, Init::none);
  load_state_dict(file, model->parameters());
  return model;
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
