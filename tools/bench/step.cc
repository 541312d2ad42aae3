#include "tools/bench/step.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json_write.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "core/planned_step.h"
#include "core/stopwatch.h"
#include "hrnet/infer/device_loader.h"
#include "hrnet/infer/heatmap_runner.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/int8/calibrate.h"
#include "hrnet/int8/file.h"
#include "hrnet/train/pose_step.h"
#include "ops/conv/backend.h"
#include "tools/cli/model_options.h"

namespace hr {
namespace {

struct Timing {
  double seconds = 0;      // per step
  double with_copies = 0;  // GPU inference: batches from host memory to heatmaps in host memory, overlapped
  double conv = 0, reorder = 0, over_conv = 0;  // CPU only
  size_t peak_bytes = 0;
  std::string backend;
};

// Times inference as one graph, which is launched again and again on the same input.
double time_graph(Context cx, const PoseModel& model, const Tensor& input, const BenchStep& o, size_t& peak) {
  const auto arena = std::make_shared<Arena>(cx.allocator);
  cx.allocator = arena;
  const auto forward = [&] {
    arena->begin_step();
    { const Tensor y = model.forward(cx, input); }
    arena->end_step();
  };
  forward();
  cuda::begin_capture(cx.stream);
  forward();
  const cuda::Graph graph = cuda::end_capture(cx.stream);
  for (int i = 0; i < o.warmup; ++i) cuda::launch(graph, cx.stream);
  cuda::synchronize(cx.stream);
  const double start = now();
  for (int i = 0; i < o.repeats; ++i) cuda::launch(graph, cx.stream);
  cuda::synchronize(cx.stream);
  const double seconds = (now() - start) / o.repeats;
  cuda::destroy_graph(graph);
  peak = arena->peak_bytes();
  return seconds;
}

// Returns the network with 8-bit integers. The ranges come from the first of the random images.
std::unique_ptr<PoseModel> quantised(const PoseModel& model, std::span<const float> images, int n, int h, int w) {
  const Context cx;
  const Tensor first = cx.empty({1, h, w, 3}, DType::f32);
  cx.upload(first, std::as_bytes(images.first(images.size() / static_cast<size_t>(n))));
  Int8Calibrator calibrator(model);
  calibrator.add(first);
  return make_int8_model(model.name(), model.joints(), model.bgr_input(), calibrator.graph(),
                         calibrator.parameters(RangeMethod::max));
}

// Prints a table, or one JSON object with --json.
void print_step(const BenchStep& o, const Timing& t, const Context& cx) {
  const bool gpu = cx.device.is_cuda();
  const int n = o.batch_size, h = o.fixed_size[0], w = o.fixed_size[1];
  const std::string device = gpu ? cuda::device_info(cx.device.index).name : counted(compute_threads(), "thread");
  const char* mode = o.training ? "train" : "inference";
  if (o.json) {
    std::string text;
    JsonWriter json(text);
    json.begin_object().member("mode", mode).member("model", o.model).member("fixed_size", std::array{h, w});
    json.member("batch_size", n).member("dtype", o.dtype).member("device", o.device).member("device_name", device);
    json.member("threads", compute_threads()).member("repeats", o.repeats);
    json.member("seconds", JsonFixed{t.seconds}).member("img_per_s", JsonFixed{n / t.seconds, 3});
    if (!gpu && t.over_conv > 0) {
      json.member("conv_seconds", JsonFixed{t.conv}).member("filter_reorder_seconds", JsonFixed{t.reorder});
      json.member("total_over_conv", JsonFixed{t.over_conv, 4});
    }
    if (t.with_copies > 0) {
      json.member("seconds_with_copies", JsonFixed{t.with_copies});
      json.member("img_per_s_with_copies", JsonFixed{n / t.with_copies, 3});
    }
    json.member("peak_bytes", t.peak_bytes).member("library", t.backend).end();
    fmt::print("{}\n", text);
    return;
  }
  fmt::print("{} {} {}x{}, batch {}, {}, {}, {}\n", o.model, mode, h, w, n, o.dtype, device, t.backend);
  fmt::print("  step              {:9.3f} ms   ({} of {})\n", 1e3 * t.seconds, gpu ? "mean" : "median", o.repeats);
  fmt::print("  throughput        {:9.1f} img/s\n", n / t.seconds);
  if (t.with_copies > 0) {
    fmt::print("  with copies       {:9.3f} ms   ({:.1f} img/s, upload, network and download overlapped)\n",
               1e3 * t.with_copies, n / t.with_copies);
  }
  // The clock does not count convolutions of bytes.
  if (!gpu && t.over_conv > 0) {
    fmt::print("  in convolutions   {:9.1f} ms\n", 1e3 * t.conv);
    fmt::print("  filter reorders   {:9.1f} ms\n", 1e3 * t.reorder);
    fmt::print("  total / conv      {:9.3f}\n", t.over_conv);
  }
  fmt::print("  peak memory       {:9.1f} MiB\n", static_cast<double>(t.peak_bytes) / (1 << 20));
}

// Times the calls of body() on the CPU, beside what the backend's clock counts inside of them.
template <class Body>
void time_on_cpu(Context& cx, const BenchStep& o, const Body& body, Timing& t) {
  ConvBackend& backend = conv_backend(cx);
  std::vector<double> total, conv, reorder, ratio;
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    backend.clock = {};
    const double start = now();
    body();
    const double seconds = now() - start;
    if (i < o.warmup) continue;
    total.push_back(seconds);
    conv.push_back(backend.clock.primitives);
    reorder.push_back(backend.clock.reorders);
    ratio.push_back(seconds / backend.clock.primitives);
  }
  t.seconds = median(total), t.conv = median(conv), t.reorder = median(reorder), t.over_conv = median(ratio);
}

void time_training(Context& cx, PoseModel& model, const TrainBatch& batch, const BenchStep& o, Timing& t) {
  Optimizer optimizer(cx, model.parameters(), {});
  const size_t parameter_bytes = cx.allocator->peak_bytes();
  PoseTrainStep step(cx, model, optimizer, JointsLoss::official);
  if (cx.device.is_cuda()) {
    for (int i = 0; i < std::max(o.warmup, 3); ++i) step(batch, 1e-3);  // to record, capture and launch once each
    const double start = now();
    for (int i = 0; i < o.repeats; ++i) {
      step.submit(batch, 1e-3);
      while (step.ready()) step.wait();
    }
    while (step.pending() > 0) step.wait();
    t.seconds = (now() - start) / o.repeats;
  } else {
    time_on_cpu(
        cx, o, [&] { step(batch, 1e-3); }, t);
  }
  t.peak_bytes = step.peak_bytes() + parameter_bytes;
}

void time_inference(Context& cx, const PoseModel& model, const TrainBatch& batch, const BenchStep& o, Timing& t) {
  const int n = batch.n, h = batch.h, w = batch.w;
  const size_t parameter_bytes = cx.allocator->peak_bytes();
  const Tensor input = cx.empty({n, h, w, 3}, DType::f32);
  cx.upload(input, std::as_bytes(batch.images));
  if (!cx.device.is_cuda()) {
    // The times of convolutions come from steps that compute op after op; recorded loops are not timed one by one.
    {
      Context one_by_one = cx;
      const auto arena = std::make_shared<Arena>(cx.allocator);
      one_by_one.allocator = arena;
      BenchStep few = o;
      if (!model.runs_by_itself()) few.warmup = 1, few.repeats = std::min(o.repeats, 3);
      time_on_cpu(
          one_by_one, few,
          [&] {
            arena->begin_step();
            model.forward(one_by_one, input);
            arena->end_step();
          },
          t);
    }
    if (!model.runs_by_itself()) {
      const Timing ops = t;
      PlannedStep step(cx.allocator);
      LoopTeam team(compute_threads());
      conv_backend(cx);  // So that all steps have the same backend.
      const auto forward = [&] { step(cx, team, 0, [&](Context& in) { model.forward(in, input); }); };
      time_on_cpu(cx, o, forward, t);
      t.conv = ops.conv, t.reorder = ops.reorder, t.over_conv = ops.over_conv;
    }
    // Weights, packed filters, and activations. A network of 8 bits holds its own.
    t.peak_bytes = cx.allocator->peak_bytes() + model.held_bytes();
    return;
  }
  t.seconds = time_graph(cx, model, input, o, t.peak_bytes);
  t.peak_bytes += parameter_bytes;
  HeatmapRunner runner(cx, model, std::vector<int>(static_cast<size_t>(model.joints())), {.flip = false});
  for (int i = 0; i < std::max(o.warmup, 3); ++i) runner(batch.images, n, h, w);  // as above
  const double start = now();
  for (int i = 0; i < o.repeats; ++i) {
    if (runner.full()) runner.wait();
    runner.submit(batch.images, n, h, w);
  }
  while (runner.pending() > 0) runner.wait();
  t.with_copies = (now() - start) / o.repeats;
}

}  // namespace

void bench_step(const BenchStep& o) {
  Context cx = make_context({.device = o.device,
                             .amp = o.dtype == "bf16",
                             .threads = o.threads,
                             .pin_threads = o.training,
                             .tf32 = o.tf32,
                             .exact = o.exact,
                             .listener = print_remark});
  const int n = o.batch_size, h = o.fixed_size[0], w = o.fixed_size[1];
  const Purpose purpose = o.training ? Purpose::training : Purpose::inference;
  std::unique_ptr<PoseModel> model = o.weights.empty() ? make_model(cx, o.model, 17, 1, Init::official, purpose)
                                                       : load_model(cx, WeightFile(o.weights), {}, {}, {}, purpose);
  const int joints = model->joints();
  Philox rng(1, 0, 0);
  HostBuffer<float> images(batch_memory(cx.device)), targets = images;
  images.resize(static_cast<size_t>(n) * h * w * 3);
  if (o.training) targets.resize(static_cast<size_t>(n) * (h / 4) * (w / 4) * joints);
  const std::vector<float> weights(static_cast<size_t>(n) * joints, 1.0f);
  for (float& v : images) v = static_cast<float>(rng.normal());
  for (float& v : targets) v = static_cast<float>(rng.uniform());
  const bool eight_bits = o.dtype == "int8" || (!o.weights.empty() && is_int8(WeightFile(o.weights)));
  if (o.dtype == "int8" && o.weights.empty()) model = quantised(*model, images, n, h, w);

  Timing t;
  t.backend = conv_backend(cx).description();
  const TrainBatch batch{images, targets, weights, n, h, w};
  if (o.training) {
    time_training(cx, *model, batch, o, t);
  } else {
    time_inference(cx, *model, batch, o, t);
  }
  BenchStep shown = o;
  if (eight_bits) {
    t.over_conv = 0;
    t.backend = "own 8-bit kernels";
    shown.dtype = "int8";
  }
  print_step(shown, t, cx);
}

}  // namespace hr
