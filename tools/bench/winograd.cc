#include "tools/bench/winograd.h"

#include <charconv>
#include <ctime>
#include <vector>

#include "core/error.h"
#include "core/io/json_write.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "core/stopwatch.h"
#include "hrnet/model/make_context.h"
#include "hrnet/train/pose_step.h"
#include "ops/conv/dnnl_conv.h"
#include "ops/conv/winograd.h"
#include "tools/cli/model_options.h"

namespace hr {
namespace {

std::vector<float> random_numbers(int64_t n, uint64_t stream) {
  Philox rng(1, stream, 0);
  std::vector<float> numbers(static_cast<size_t>(n));
  for (float& v : numbers) v = static_cast<float>(rng.normal());
  return numbers;
}

double processor_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Milliseconds of both ways, run in turns: by the clock, and of all threads' processor time, which other programs on
// the same cores disturb less.
struct Both {
  std::vector<double> direct, fast, direct_processor, fast_processor;

  template <class Direct, class Fast>
  Both(const WinogradBenchOptions& o, const Direct& run_direct, const Fast& run_fast) {
    for (int i = 0; i < o.warmup + o.repeats; ++i) {
      const double start = now(), start_processor = processor_seconds();
      run_direct();
      const double middle = now(), middle_processor = processor_seconds();
      run_fast();
      const double end = now(), end_processor = processor_seconds();
      if (i < o.warmup) continue;
      direct.push_back(1e3 * (middle - start));
      fast.push_back(1e3 * (end - middle));
      direct_processor.push_back(1e3 * (middle_processor - start_processor));
      fast_processor.push_back(1e3 * (end_processor - middle_processor));
    }
  }
};

void print(const WinogradBenchOptions& o, const std::string& what, const Both& times, double estimate) {
  const double direct = median(times.direct), fast = median(times.fast);
  const double direct_processor = median(times.direct_processor), fast_processor = median(times.fast_processor);
  if (!o.json) {
    fmt::print("{:<40} {:>10.3f} {:>10.3f} {:>6.2f} {:>10.3f} {:>10.3f} {:>6.2f} {:>9}\n", what, direct, fast,
               direct / fast, direct_processor, fast_processor, direct_processor / fast_processor,
               estimate > 0 ? fmt::format("{:.2f}", estimate) : "");
    return;
  }
  std::string text;
  JsonWriter json(text);
  json.begin_object().member("mode", "winograd").member("what", what).member("batch_size", o.batch_size);
  json.member("threads", compute_threads()).member("direct_ms", JsonFixed{direct, 4});
  json.member("winograd_ms", JsonFixed{fast, 4}).member("ratio", JsonFixed{direct / fast, 3});
  json.member("direct_processor_ms", JsonFixed{direct_processor, 4});
  json.member("winograd_processor_ms", JsonFixed{fast_processor, 4});
  json.member("processor_ratio", JsonFixed{direct_processor / fast_processor, 3});
  json.member("estimate", JsonFixed{estimate, 3}).end();
  fmt::print("{}\n", text);
}

// The shapes of HRNet's 3x3 convolutions with stride 1: the branches, the bottlenecks of the first stage, and the way
// from there to the first branch.
std::vector<ConvGeometry> shapes_of(const WinogradBenchOptions& o) {
  constexpr std::string_view kPrefix = "hrnet_w";
  int width = 0;
  const char* end = o.model.data() + o.model.size();
  check(o.model.starts_with(kPrefix) && std::from_chars(o.model.data() + kPrefix.size(), end, width).ptr == end &&
            width > 0,
        "bench: expected a model hrnet_wC, got {}", o.model);
  const int64_t h = o.fixed_size[0] / 4, w = o.fixed_size[1] / 4;
  const auto shape = [&](int level, int64_t in, int64_t out) {
    return ConvGeometry{.n = o.batch_size,
                        .h = h >> level,
                        .w = w >> level,
                        .ci = in,
                        .co = out,
                        .kh = 3,
                        .kw = 3,
                        .stride = 1,
                        .pad = 1};
  };
  std::vector<ConvGeometry> shapes;
  for (int level = 0; level < 4; ++level) shapes.push_back(shape(level, width << level, width << level));
  shapes.push_back(shape(0, 64, 64));
  shapes.push_back(shape(0, 256, width));
  return shapes;
}

void bench_shapes(const WinogradBenchOptions& o) {
  DnnlConv direct;
  Winograd winograd;
  const Context cx;
  for (const ConvGeometry& g : shapes_of(o)) {
    const auto x = random_numbers(g.n * g.h * g.w * g.ci, 1), filter = random_numbers(g.co * 9 * g.ci, 2),
               bias = random_numbers(g.co, 3), dy = random_numbers(g.n * g.h * g.w * g.co, 4);
    std::vector<float> y(dy.size()), dx(x.size()), dfilter(filter.size());
    PackedFilters packed;
    const std::string name = fmt::format("[{}, {}, {}, {}] -> {}", g.n, g.h, g.w, g.ci, g.co);
    print(o, name,
          Both(
              o,
              [&] {
                direct.forward(cx, g, x.data(), {filter.data()}, bias.data(), nullptr, ConvAct::relu, y.data(),
                               &packed);
              },
              [&] { winograd.forward(cx, g, x.data(), filter.data(), bias.data(), nullptr, ConvAct::relu, y.data()); }),
          winograd.gain(g, Winograd::Pass::forward));
    print(o, name + ", data gradient",
          Both(
              o, [&] { direct.backward_data(cx, g, dy.data(), {filter.data()}, dx.data()); },
              [&] { winograd.backward_data(cx, g, dy.data(), filter.data(), dx.data()); }),
          winograd.gain(g, Winograd::Pass::backward_data));
    print(o, name + ", filter gradient",
          Both(
              o, [&] { direct.backward_filter(cx, g, x.data(), dy.data(), dfilter.data(), nullptr); },
              [&] { winograd.backward_filter(g, x.data(), dy.data(), dfilter.data()); }),
          winograd.gain(g, Winograd::Pass::backward_filter));
  }
}

// The network with one way of convolving.
class Network {
 public:
  Network(const WinogradBenchOptions& o, bool exact)
      : cx_(make_context({.threads = o.threads, .pin_threads = true, .exact = exact, .listener = print_remark})),
        model_(make_model(cx_, o.model, kJoints, 1)),
        optimizer_(cx_, model_->parameters(), {}),
        step_(cx_, *model_, optimizer_, JointsLoss::official),
        inference_(cx_),
        arena_(std::make_shared<Arena>(cx_.allocator)) {
    inference_.allocator = arena_;
  }
  void infer(const Tensor& input) {
    arena_->begin_step();
    { const Tensor y = model_->forward(inference_, input); }
    arena_->end_step();
  }
  void train(const TrainBatch& batch) { step_(batch, 1e-3); }
  const Context& context() const { return cx_; }

  static constexpr int kJoints = 17;

 private:
  Context cx_;
  std::unique_ptr<PoseModel> model_;
  Optimizer optimizer_;
  PoseTrainStep step_;
  Context inference_;
  std::shared_ptr<Arena> arena_;
};

void bench_network(const WinogradBenchOptions& o) {
  const int n = o.batch_size, h = o.fixed_size[0], w = o.fixed_size[1];
  const auto images = random_numbers(int64_t{n} * h * w * 3, 5),
             targets = random_numbers(int64_t{n} * (h / 4) * (w / 4) * Network::kJoints, 6);
  const std::vector<float> weights(static_cast<size_t>(n) * Network::kJoints, 1.0f);
  Network direct(o, true), fast(o, false);
  const Tensor input = direct.context().empty({n, h, w, 3}, DType::f32);
  direct.context().upload(input, std::as_bytes(std::span(images)));
  print(o, fmt::format("{}, inference", o.model),
        Both(
            o, [&] { direct.infer(input); }, [&] { fast.infer(input); }),
        0);
  const TrainBatch batch{images, targets, weights, n, h, w};
  print(o, fmt::format("{}, training step", o.model),
        Both(
            o, [&] { direct.train(batch); }, [&] { fast.train(batch); }),
        0);
}

}  // namespace

void bench_winograd(const WinogradBenchOptions& options) {
  if (options.threads > 0) set_compute_threads(options.threads);
  check(Winograd().exists(), "bench: Winograd's method needs a processor with AVX2");
  if (!options.json) {
    fmt::print("batch {}, {} threads, x86-64-v{}; ms by the clock, and of processor time\n", options.batch_size,
               compute_threads(), static_cast<int>(cpu_level()));
    fmt::print("{:<40} {:>10} {:>10} {:>6} {:>10} {:>10} {:>6} {:>9}\n", "", "direct", "winograd", "ratio", "direct",
               "winograd", "ratio", "estimate");
  }
  bench_shapes(options);
  bench_network(options);
}

}  // namespace hr
