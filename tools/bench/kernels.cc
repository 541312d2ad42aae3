#include "tools/bench/kernels.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/io/json_write.h"
#include "core/philox.h"
#include "hrnet/model/model.h"
#include "nn/optimizer.h"
#include "ops/joints_loss.h"
#include "tools/cli/model_options.h"

namespace hr {
namespace {

// Returns the bytes read and written per second by a copy of 2 GiB on the device, the best of five.
double copy_bandwidth(const Context& cx) {
  const size_t bytes = size_t{1} << 30;
  void* from = cuda::allocate(bytes);
  void* to = cuda::allocate(bytes);
  cuda::zero(from, bytes, cx.stream);
  const cuda::Event begin = cuda::create_event(true), end = cuda::create_event(true);
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    cuda::record(begin, cx.stream);
    cuda::copy(to, from, bytes, cuda::Copy::device_to_device, cx.stream);
    cuda::record(end, cx.stream);
    cuda::synchronize(end);
    best =
        std::max(best, 2.0 * static_cast<double>(bytes) / (1e-3 * static_cast<double>(cuda::elapsed_ms(begin, end))));
  }
  cuda::destroy_event(begin);
  cuda::destroy_event(end);
  cuda::deallocate(from);
  cuda::deallocate(to);
  return best;
}

}  // namespace

void bench_kernels(const BenchKernels& o) {
  Context cx = make_context({.device = o.device,
                             .amp = o.dtype == "bf16",
                             .threads = o.threads,
                             .pin_threads = true,
                             .listener = print_remark});
  const bool gpu = cx.device.is_cuda();
  cx.side_streams = nullptr;  // one kernel at a time, so that each can be timed
  const double bandwidth = o.bandwidth > 0 ? o.bandwidth * 1e12 : gpu ? copy_bandwidth(cx) : 4.3e12;
  const int n = o.batch_size, h = o.fixed_size[0], w = o.fixed_size[1], joints = 17;
  const auto model = make_model(cx, o.model, joints, 1);
  Optimizer optimizer(cx, model->parameters(), {});
  Philox rng(1, 0, 0);
  const auto random = [&](const Shape& shape) {
    std::vector<float> v(static_cast<size_t>(numel(shape)));
    for (float& x : v) x = static_cast<float>(rng.uniform());
    Tensor t = cx.empty(shape, DType::f32);
    cx.upload(t, std::as_bytes(std::span(v)));
    return t;
  };
  const Tensor images = random({n, h, w, 3}), targets = random({n, h / 4, w / 4, joints}),
               weights = random({n, joints});
  Tape tape;
  cx.training = o.training;
  if (o.training) {
    cx.tape = &tape;
    model->parameters().bind(tape);
  }
  const auto step = [&] {
    if (!o.training) {
      model->forward(cx, images);
      return;
    }
    const ParameterStore::Rounded rounded = model->parameters().round_values(cx);
    tape.backward(cx, joints_loss(cx, model->forward(cx, images), targets, weights, JointsLoss::official));
    optimizer.step(cx, 1e-3);
  };
  step();  // measures plans and folds filters
  Profile profile(gpu);
  cx.profile = &profile;
  for (int i = 0; i < o.repeats; ++i) step();
  cx.profile = nullptr;
  const auto& kinds = profile.finish();

  const double per_step = 1.0 / o.repeats;
  double launches = 0, bytes = 0, predicted = 0, seconds = 0;
  std::string rows, text;
  JsonWriter json(text);
  json.begin_object().member("model", o.model).member("batch_size", n).member("dtype", o.dtype);
  json.member("bandwidth", JsonFixed{bandwidth, 0}).key("kinds").begin_object();
  for (const auto& [name, k] : kinds) {
    const double p = k.bytes / bandwidth * per_step;
    const std::string measured = gpu ? fmt::format("{:9.0f}", 1e6 * k.seconds * per_step) : "     open";
    rows += fmt::format("| {:<34} | {:8.0f} | {:9.1f} | {:9.1f} | {:9.0f} | {} |\n", name,
                        static_cast<double>(k.launches) * per_step, k.bytes * per_step / 1e6,
                        k.operations * per_step / 1e9, 1e6 * p, measured);
    json.key(name).begin_object().member("launches", JsonFixed{static_cast<double>(k.launches) * per_step, 0});
    json.member("bytes", JsonFixed{k.bytes * per_step, 0});
    json.member("operations", JsonFixed{k.operations * per_step, 0});
    json.member("seconds", JsonFixed{k.seconds * per_step, 9}).end();
    launches += static_cast<double>(k.launches) * per_step;
    bytes += k.bytes * per_step;
    predicted += p;
    seconds += k.seconds * per_step;
  }
  if (o.json) {
    json.end().end();
    fmt::print("{}\n", text);
    return;
  }
  fmt::print("{} {} {}x{}, batch {}, {}; {} at {:.2f} TB/s\n\n", o.model, o.training ? "training step" : "inference", h,
             w, n, o.dtype, gpu ? cuda::device_info(cx.device.index).name : "counted on the CPU, predicted",
             bandwidth / 1e12);
  fmt::print("| {:<34} | launches |        MB |     GFLOP | by bytes µs | measured µs |\n|---|---|---|---|---|---|\n",
             "kind of kernel");
  fmt::print("{}", rows);
  fmt::print("| {:<34} | {:8.0f} | {:9.1f} |           | {:9.0f} | {} |\n", "all", launches, bytes / 1e6,
             1e6 * predicted, gpu ? fmt::format("{:9.0f}", 1e6 * seconds) : "     open");
}

}  // namespace hr
