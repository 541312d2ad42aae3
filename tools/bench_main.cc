// How fast, as a ratio to the convolution primitives' own time in the same run.
#include <algorithm>
#include <array>
#include <chrono>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "hrnet/train_step.h"
#include "ops/conv2d.h"
#include "tools/bench_eval.h"
#include "tools/bench_load.h"
#include "tools/bench_loader.h"
#include "tools/cli.h"
#include "tools/infer.h"

namespace {

struct Options {
  std::string mode = "train", model = "hrnet_w32", dtype = "f32", device = "cpu", weights;
  std::string data_path, annotations, images;
  std::array<int, 2> fixed_size{256, 192};
  int batch_size = 8, repeats = 7, warmup = 3, threads = 0;
  bool json = false;
};

void add_options(CLI::App& app, Options& o) {
  hr::describe(
      app,
      "Times training steps or inference on random numbers. The figure to quote is total_over_conv: "
      "everything, over the time inside "
      "convolution primitives. With --mode load: reading a weight file into a model, over copying its bytes "
      "once. With --mode eval: "
      "reading, matching and accumulating COCO results of val2017's size on one core. With --mode loader: training "
      "samples per second from JPEGs, from the cache and from a pack, by stage.",
      "bench --mode train --model hrnet_w32 --fixed-size 256 192 --batch-size 8 --dtype bf16");
  app.add_option("--mode", o.mode, "train, inference, load, loader or eval")
      ->check(CLI::IsMember({"train", "inference", "load", "loader", "eval"}));
  app.add_option("--model", o.model, "hrnet_wC, pose_resnet50, pose_resnet101 or pose_resnet152")->type_name("NAME");
  hr::add_fixed_size(app, o.fixed_size);
  app.add_option("--batch-size", o.batch_size, "pictures per step")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--dtype", o.dtype, "f32 or bf16 activations")->check(CLI::IsMember({"f32", "bf16"}));
  app.add_option("--weights", o.weights, "with --mode load: this file instead of ones made for --model")
      ->type_name("FILE");
  app.add_option("--data-path", o.data_path, "with --mode loader: this dataset instead of pictures made for it")
      ->type_name("DIR");
  app.add_option("--train-annotations", o.annotations, "with --mode loader: annotation file")->type_name("FILE");
  app.add_option("--train-images", o.images, "with --mode loader: its pictures")->type_name("DIR");
  app.add_option("--repeats", o.repeats, "timed steps; medians are reported")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--warmup", o.warmup, "steps before those")->type_name("N")->check(CLI::PositiveNumber);
  app.add_flag("--json", o.json, "one JSON object on stdout instead of a table");
  hr::add_device(app, o.device);
  hr::add_threads(app, o.threads);
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

void bench(const Options& o) {
  if (o.mode == "eval") return hr::bench_eval({.repeats = o.repeats, .warmup = o.warmup, .json = o.json});
  if (o.mode == "loader") {
    return hr::bench_loader(
        {o.data_path, o.annotations, o.images, o.fixed_size, o.batch_size, o.repeats, o.threads, o.json});
  }
  if (o.mode == "load") return hr::bench_load({o.model, o.weights, o.repeats, o.warmup, o.threads, o.json});
  hr::Context cx = hr::make_context(o.device, o.dtype == "bf16", o.threads);
  const int n = o.batch_size, h = o.fixed_size[0], w = o.fixed_size[1], joints = 17;
  const auto model = hr::make_model(cx, o.model, joints, 1);
  hr::Philox rng(1, 0, 0);
  std::vector<float> images(static_cast<size_t>(n) * h * w * 3),
      targets(static_cast<size_t>(n) * (h / 4) * (w / 4) * joints), weights(static_cast<size_t>(n) * joints, 1.0f);
  for (float& v : images) v = static_cast<float>(rng.normal());
  for (float& v : targets) v = static_cast<float>(rng.uniform());

  const bool training = o.mode == "train";
  hr::Optimizer optimizer(cx, model->parameters(), {});
  const size_t parameter_bytes = cx.allocator->peak_bytes();
  hr::TrainStep step(cx, *model, optimizer, hr::JointsLoss::official);
  hr::Context inference = cx;
  const auto arena = std::make_shared<hr::Arena>(cx.allocator);
  const hr::Tensor input = cx.empty({n, h, w, 3}, hr::DType::f32);
  std::copy(images.begin(), images.end(), input.data<float>());
  inference.allocator = arena;
  hr::Context& timed = training ? step.context() : inference;

  std::vector<double> total, conv, reorder, ratio;
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    hr::conv_backend(timed).clock = {};
    const auto start = std::chrono::steady_clock::now();
    if (training) {
      step({images, targets, weights, n, h, w}, 1e-3);
    } else {
      arena->begin_step();
      { const hr::Tensor y = model->forward(inference, input); }
      arena->end_step();
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i < o.warmup) continue;
    const hr::ConvClock& clock = hr::conv_backend(timed).clock;
    total.push_back(seconds);
    conv.push_back(clock.primitives);
    reorder.push_back(clock.reorders);
    ratio.push_back(seconds / clock.primitives);
  }
  const size_t peak = (training ? step.peak_bytes() : arena->peak_bytes()) + parameter_bytes;
  if (o.json) {
    fmt::print(
        "{{\"mode\": \"{}\", \"model\": \"{}\", \"fixed_size\": [{}, {}], \"batch_size\": {}, \"dtype\": \"{}\", "
        "\"device\": \"{}\", "
        "\"threads\": {}, \"repeats\": {}, \"seconds\": {:.6f}, \"img_per_s\": {:.3f}, \"conv_seconds\": {:.6f}, "
        "\"filter_reorder_seconds\": {:.6f}, \"total_over_conv\": {:.4f}, \"peak_bytes\": {}, \"library\": \"{}\"}}\n",
        o.mode, o.model, h, w, n, o.dtype, o.device, hr::compute_threads(), o.repeats, median(total), n / median(total),
        median(conv), median(reorder), median(ratio), peak, hr::conv_backend(timed).description());
    return;
  }
  fmt::print("{} {} {}x{}, batch {}, {}, {} threads, {}\n", o.model, o.mode, h, w, n, o.dtype, hr::compute_threads(),
             hr::conv_backend(timed).description());
  fmt::print("  step              {:9.1f} ms   (median of {})\n", 1e3 * median(total), o.repeats);
  fmt::print("  throughput        {:9.1f} img/s\n", n / median(total));
  fmt::print("  in convolutions   {:9.1f} ms\n", 1e3 * median(conv));
  fmt::print("  filter reorders   {:9.1f} ms\n", 1e3 * median(reorder));
  fmt::print("  total / conv      {:9.3f}\n", median(ratio));
  fmt::print("  peak memory       {:9.1f} MiB\n", static_cast<double>(peak) / (1 << 20));
}

}  // namespace

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  return hr::run_program<Options>("bench", argc, argv, add_options, bench);
}
