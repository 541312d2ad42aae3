// The program bench measures the speed of the library, among others as a ratio to the time inside convolution
// primitives in the same run.
#include <array>

#include "core/error.h"
#include "tools/bench/comm.h"
#include "tools/bench/eval.h"
#include "tools/bench/kernels.h"
#include "tools/bench/load.h"
#include "tools/bench/loader.h"
#include "tools/bench/step.h"
#include "tools/bench/track.h"
#include "tools/bench/winograd.h"
#include "tools/cli/cli.h"
#include "tools/cli/model_options.h"

namespace {

struct Options {
  std::string mode = "train", model = "hrnet_w32", dtype = "f32", device = "cpu", weights;
  std::string data_path, annotations, images;
  std::array<int, 2> fixed_size{256, 192};
  int batch_size = 8, repeats = 7, warmup = 3, threads = 0;
  bool json = false, tf32 = false, exact = false;
  double bandwidth = 0;
  hr::BenchComm comm;
};

void add_options(CLI::App& app, Options& o) {
  hr::describe(
      app,
      "Measures the speed of training steps or inference on random numbers. On a CPU the figure to quote is total / "
      "conv: the whole time over the time inside convolution primitives. Other modes measure: winograd, Winograd's "
      "convolutions beside the direct ones on a CPU; load, reading a weight "
      "file into a model, compared with copying its bytes once; eval, reading, matching and accumulating COCO results "
      "of val2017's size on one core; track, tracking 10 and 100 people on one core; kernels, a training step by kind "
      "of kernel, with the bytes that each must move; loader, training samples per second from JPEGs, from the cache "
      "and from a pack, by stage; comm, a training step on several ranks (--nproc), and how much of the communication "
      "is not hidden; scaling, the same predicted for up to 1,024 GPUs.",
      "bench --mode train --model hrnet_w32 --fixed-size 256 192 --batch-size 8 --dtype bf16");
  app.add_option("--mode", o.mode, "train, inference, winograd, kernels, load, loader, eval, track, comm or scaling")
      ->check(CLI::IsMember(
          {"train", "inference", "winograd", "kernels", "load", "loader", "eval", "track", "comm", "scaling"}));
  app.add_option("--model", o.model, "hrnet_wC, pose_resnet50, pose_resnet101 or pose_resnet152")->type_name("NAME");
  hr::add_fixed_size(app, o.fixed_size);
  app.add_option("--batch-size", o.batch_size, "pictures per step")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--dtype", o.dtype,
                 "element type of the activations: f32 or bf16, and with --mode inference on a CPU also int8")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}));
  app.add_option("--weights", o.weights,
                 "with --mode load or inference: weight file to read, instead of generated ones for --model")
      ->type_name("FILE");
  app.add_option("--data-path", o.data_path, "with --mode loader: dataset to read, instead of generated pictures")
      ->type_name("DIR");
  app.add_option("--train-annotations", o.annotations, "with --mode loader: annotation file of the dataset")
      ->type_name("FILE");
  app.add_option("--train-images", o.images, "with --mode loader: folder of the dataset's pictures")->type_name("DIR");
  app.add_option("--repeats", o.repeats, "timed steps; medians are reported")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--warmup", o.warmup, "steps before those that are timed")->type_name("N")->check(CLI::PositiveNumber);
  app.add_flag("--json", o.json, "print one JSON object instead of a table");
  app.add_option("--bandwidth", o.bandwidth,
                 "with --mode kernels: memory bandwidth for the prediction; 0: measured on a GPU, 4.3 on a CPU")
      ->type_name("TB/s");
  app.add_flag("--tf32", o.tf32, "on a GPU: float32 convolutions may round their inputs to TF32");
  app.add_flag("--exact", o.exact, "on the CPU: sum float32 convolutions directly, never by Winograd's method");
  hr::add_comm_options(app, o.comm);
  hr::add_device(app, o.device);
  hr::add_threads(app, o.threads);
}

hr::BenchComm comm_options(const Options& o) {
  hr::BenchComm c = o.comm;
  c.model = o.model;
  c.dtype = o.dtype;
  c.device = o.device;
  c.fixed_size = o.fixed_size;
  c.batch_size = o.batch_size;
  c.repeats = o.repeats;
  c.warmup = o.warmup;
  c.threads = o.threads;
  c.json = o.json;
  return c;
}

void bench(const Options& o) {
  hr::check(o.dtype != "int8" || (o.mode == "inference" && o.device == "cpu"),
            "--dtype int8 is for --mode inference on a CPU");
  if (o.mode == "eval") return hr::bench_eval({.repeats = o.repeats, .warmup = o.warmup, .json = o.json});
  if (o.mode == "track") return hr::bench_track({.repeats = o.repeats, .warmup = o.warmup, .json = o.json});
  if (o.mode == "winograd") {
    return hr::bench_winograd({.model = o.model,
                               .fixed_size = o.fixed_size,
                               .batch_size = o.batch_size,
                               .repeats = o.repeats,
                               .warmup = o.warmup,
                               .threads = o.threads,
                               .json = o.json});
  }
  if (o.mode == "loader") {
    return hr::bench_loader(
        {o.data_path, o.annotations, o.images, o.fixed_size, o.batch_size, o.repeats, o.threads, o.json});
  }
  if (o.mode == "load") return hr::bench_load({o.model, o.weights, o.repeats, o.warmup, o.threads, o.json});
  if (o.mode == "kernels") {
    return hr::bench_kernels({.model = o.model,
                              .dtype = o.dtype,
                              .device = o.device,
                              .fixed_size = o.fixed_size,
                              .batch_size = o.batch_size,
                              .repeats = o.repeats,
                              .threads = o.threads,
                              .bandwidth = o.bandwidth,
                              .json = o.json});
  }
  hr::bench_step({.training = o.mode == "train",
                  .model = o.model,
                  .dtype = o.dtype,
                  .weights = o.mode == "inference" ? o.weights : "",
                  .device = o.device,
                  .fixed_size = o.fixed_size,
                  .batch_size = o.batch_size,
                  .repeats = o.repeats,
                  .warmup = o.warmup,
                  .threads = o.threads,
                  .tf32 = o.tf32,
                  .exact = o.exact,
                  .json = o.json});
}

}  // namespace

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  hr::hold_output_of_other_ranks();
  return hr::run_program<Options>("bench", argc, argv, add_options, [](const Options& o) {
    if (o.mode == "comm") return hr::bench_comm(comm_options(o));
    if (o.mode == "scaling") return hr::bench_scaling(comm_options(o));
    bench(o);
    return 0;
  });
}
