#include "tools/bench/comm.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json_write.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "core/stopwatch.h"
#include "hrnet/infer/device_loader.h"
#include "hrnet/train/pose_step.h"
#include "tools/bench/scaling.h"
#include "tools/cli/model_options.h"

namespace hr {
namespace {

constexpr int kJoints = 17;

// Records when each gradient is ready in a step of one rank. It exchanges nothing.
class Witness final : public Comm {
 public:
  Witness() : Comm(0, 1) {}
  std::string_view engine() const override { return "none"; }
  // The loss is reduced just before backward begins.
  void all_reduce(const Tensor&, Reduce, void*) override { backward_began = now(); }
  void start_all_reduce(const Tensor&, Reduce, void*) override { ready.push_back(now()); }
  void finish(void*) override { backward_ended = now(); }
  void broadcast(const Tensor&, int, void*) override {}
  void all_gather(const Tensor&, const Tensor&, void*) override { fail("one rank has nothing to gather"); }
  void all_reduce(std::span<double>, Reduce) override {}
  std::vector<std::string> all_gather(std::string_view mine) override { return {std::string(mine)}; }
  void barrier() override {}
  void check() override {}
  void abort() noexcept override {}

  double backward_began = 0, backward_ended = 0;
  std::vector<double> ready;  // indexed by bucket
};

// One way to run a step. Each variant has its own model, because a tape reports to only one DataParallel.
struct Variant {
  const char* name;
  std::unique_ptr<PoseModel> model;
  std::optional<Optimizer> optimizer;
  std::optional<DataParallel> parallel;
  std::optional<PoseTrainStep> step;
  std::vector<double> seconds, waited, busy;

  Variant(const char* title, Context cx, const BenchComm& o, Comm* comm, const DataParallel::Options& options)
      : name(title) {
    model = make_model(cx, o.model, kJoints, 1, Init::torch);
    optimizer.emplace(cx, model->parameters(), AdamStep{});
    if (comm != nullptr) {
      parallel.emplace(*comm, model->parameters(), options);
      if (o.sync_bn && comm->size() > 1) cx.sync_bn = comm;
    }
    step.emplace(cx, *model, *optimizer, JointsLoss::official, parallel ? &*parallel : nullptr);
  }
};

DataParallel::Options bucket_options(double mib, bool overlap = true) {
  return {.bucket_bytes = static_cast<int64_t>(mib * (1 << 20)), .overlap = overlap};
}
// These options give every parameter a bucket of its own.
constexpr DataParallel::Options kEach{.bucket_bytes = 1, .last_bytes = 1};

// Random numbers with the shapes of a batch.
struct RandomBatch {
  HostBuffer<float> images, targets;
  std::vector<float> weights;
  TrainBatch batch;

  RandomBatch(const Device& device, int n, int h, int w, int rank)
      : images(batch_memory(device)), targets(images), weights(static_cast<size_t>(n) * kJoints, 1.0f) {
    images.resize(static_cast<size_t>(n) * h * w * 3);
    targets.resize(static_cast<size_t>(n) * (h / 4) * (w / 4) * kJoints);
    Philox rng(1, static_cast<uint64_t>(rank), 0);
    for (float& v : images) v = static_cast<float>(rng.normal());
    for (float& v : targets) v = static_cast<float>(rng.uniform());
    batch = {images, targets, weights, n, h, w};
  }
};

// The steps that a Witness recorded; each time is the median over the steps.
class Lone {
 public:
  void note(double began, double ended, Witness& w) {
    until_.push_back(w.backward_began - began);
    backward_.push_back(w.backward_ended - w.backward_began);
    after_.push_back(ended - w.backward_ended);
    ready_.resize(w.ready.size());
    for (size_t i = 0; i < w.ready.size(); ++i) ready_[i].push_back(w.ready[i] - w.backward_began);
    w.ready.clear();
  }
  LoneStep step(const std::vector<Bucket>& each) const {
    LoneStep lone{.until_backward = median(until_), .backward = median(backward_), .after = median(after_)};
    for (size_t i = 0; i < each.size(); ++i) lone.ready.push_back({each[i].begin, median(ready_[i])});
    return lone;
  }

 private:
  std::vector<double> until_, backward_, after_;
  std::vector<std::vector<double>> ready_;
};

// The durations of all-reduces outside of a training step, in seconds: of the whole gradient (wall time, and processor
// time of this rank) and of 8 bytes.
struct Measured {
  std::vector<double> gradient, gradient_cpu, small;  // one number per repeat
};

Measured time_all_reduces(const BenchComm& o, Comm& comm, const Context& cx, const Tensor& gradient) {
  Measured m;
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    comm.barrier();
    const double began = now(), cpu_began = processor_seconds();
    comm.all_reduce(gradient, Reduce::mean, cx.stream);
    if (cx.device.is_cuda()) cuda::synchronize(cx.stream);
    const double seconds = now() - began, cpu = processor_seconds() - cpu_began;
    constexpr int kSmall = 20;
    const double small_began = now();
    for (int k = 0; k < kSmall; ++k) {
      double one[] = {1.0};
      comm.all_reduce(std::span(one), Reduce::sum);
    }
    if (i < o.warmup) continue;
    m.gradient.push_back(seconds);
    m.gradient_cpu.push_back(cpu);
    m.small.push_back((now() - small_began) / kSmall);
  }
  return m;
}

// Runs the variants in turn, so that other load on the machine affects all of them alike. The `witness` of the first
// variant may be null; otherwise its records are written to `lone`.
void run_in_turn(const BenchComm& o, Comm& comm, const TrainBatch& batch,
                 const std::vector<std::unique_ptr<Variant>>& variants, Witness* witness, Lone& lone) {
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    for (const auto& v : variants) {
      comm.barrier();
      comm.clock = {};
      const double began = now();
      (*v->step)(batch, 1e-4);
      const double ended = now();
      if (witness != nullptr) {
        if (v == variants[0] && i >= o.warmup) lone.note(began, ended, *witness);
        witness->ready.clear();
      }
      // A step takes as long as its slowest rank.
      std::vector<double> all(static_cast<size_t>(comm.size()));
      all[comm.rank()] = ended - began;
      comm.all_reduce(std::span(all), Reduce::sum);
      if (i < o.warmup) continue;
      v->seconds.push_back(*std::max_element(all.begin(), all.end()));
      v->waited.push_back(comm.clock.exposed);
      v->busy.push_back(comm.clock.busy);
    }
  }
}

// The share of a step that the exchange adds. The differences are taken within one turn, and then the median of them.
double added_share(const Variant& v, const Variant& alone) {
  std::vector<double> s;
  for (size_t i = 0; i < v.seconds.size(); ++i) s.push_back((v.seconds[i] - alone.seconds[i]) / v.seconds[i]);
  return median(s);
}

int bench(const BenchComm& o, World& world) {
  Context cx = make_context({.device = o.device == "cuda" ? fmt::format("cuda:{}", world.ranks.local_rank) : o.device,
                             .amp = o.dtype == "bf16",
                             .threads = o.threads,
                             .pin_threads = true,
                             .listener = print_remark});
  make_engine(world, cx.device);
  Comm& comm = *world.comm;
  const int n = o.batch_size, h = o.fixed_size[0], w = o.fixed_size[1];
  const RandomBatch numbers(cx.device, n, h, w, comm.rank());

  // Only on the CPU does the host know when a gradient is ready.
  Witness witness;
  Lone lone;
  const bool witnessed = !cx.device.is_cuda();
  std::vector<std::unique_ptr<Variant>> variants;
  variants.push_back(std::make_unique<Variant>("alone", cx, o, witnessed ? &witness : nullptr, kEach));
  variants.push_back(std::make_unique<Variant>("overlapped", cx, o, &comm, bucket_options(o.bucket_mib)));
  variants.push_back(
      std::make_unique<Variant>("one after the other", cx, o, &comm, bucket_options(o.bucket_mib, false)));
  run_in_turn(o, comm, numbers.batch, variants, witnessed ? &witness : nullptr, lone);
  const ParameterStore& store = variants[0]->model->parameters();
  const Measured m = time_all_reduces(o, comm, cx, store.grads);
  comm.barrier();
  if (!world.first()) return 0;

  const auto share = [&](const Variant& v) { return added_share(v, *variants[0]); };
  const Variant &overlapped = *variants[1], &after = *variants[2];
  const double bytes = static_cast<double>(store.grads.bytes());
  const std::vector<Bucket>& buckets = overlapped.parallel->buckets();
  PredictedStep predicted;
  if (witnessed && comm.size() > 1) {
    // Every rank counts as a host of its own. Without --link-gbit no wire limits the exchange, only the processors'
    // work.
    Network net{.ranks = comm.size(), .between = o.link_gbit * 1e9 / 8, .hop = median(m.small) / 2};
    net.ranks_per_host = 1;
    net.host_seconds_per_byte = median(m.gradient_cpu) / bytes;
    if (o.link_gbit == 0) net.between = std::numeric_limits<double>::infinity();
    predicted = predict_step(lone.step(variants[0]->parallel->buckets()), net, buckets);
  }
  if (o.json) {
    std::string text;
    JsonWriter json(text);
    json.begin_object().member("mode", "comm").member("model", o.model).member("dtype", o.dtype);
    json.member("ranks", comm.size()).member("engine", comm.engine()).member("batch_size", n);
    json.member("threads", compute_threads()).member("bucket_mib", o.bucket_mib).member("buckets", buckets.size());
    json.member("sync_bn", o.sync_bn).member("seconds_alone", JsonFixed{median(variants[0]->seconds)});
    json.member("seconds", JsonFixed{median(overlapped.seconds)});
    json.member("seconds_without_overlap", JsonFixed{median(after.seconds)});
    json.member("added_share", JsonFixed{share(overlapped), 4});
    json.member("added_share_without_overlap", JsonFixed{share(after), 4});
    json.member("waited_share", JsonFixed{median(overlapped.waited) / median(overlapped.seconds), 4});
    json.member("gradient_bytes", JsonFixed{bytes, 0}).member("all_reduce_seconds", JsonFixed{median(m.gradient)});
    json.member("all_reduce_processor_seconds", JsonFixed{median(m.gradient_cpu)});
    json.member("small_all_reduce_seconds", JsonFixed{median(m.small), 8}).member("link_gbit", o.link_gbit);
    json.member("predicted_seconds", JsonFixed{predicted.seconds}).end();
    fmt::print("{}\n", text);
    return 0;
  }
  fmt::print("{} {}x{}, {} x batch {}, {}, {} each, engine {}, {} of {} MiB{}\n", o.model, h, w,
             counted(comm.size(), "rank"), n, o.dtype, counted(compute_threads(), "thread"), comm.engine(),
             counted(buckets.size(), "bucket"), o.bucket_mib, o.sync_bn ? ", synchronised batch norm" : "");
  for (const auto& v : variants) {
    fmt::print("  step {:20} {:9.1f} ms", v->name, 1e3 * median(v->seconds));
    if (v != variants[0]) {
      fmt::print("   exchanging adds {:5.1f} % of it, waiting at its end is {:5.1f} %, in all-reduce {:7.1f} ms",
                 100 * share(*v), 100 * median(v->waited) / median(v->seconds), 1e3 * median(v->busy));
    }
    fmt::print("\n");
  }
  if (predicted.seconds > 0) {
    fmt::print("  overlapped, on paper     {:9.1f} ms   {:+.1f} % of what was measured (docs/design/scaling.md)\n",
               1e3 * predicted.seconds, 100 * (predicted.seconds / median(overlapped.seconds) - 1));
  }
  fmt::print("  gradient by itself       {:9.1f} ms   {:.1f} MB, {:.2f} GB/s per rank, {:.1f} ms of each processor\n",
             1e3 * median(m.gradient), bytes / 1e6, bytes / median(m.gradient) / 1e9, 1e3 * median(m.gradient_cpu));
  fmt::print("  8 bytes                  {:9.3f} ms\n", 1e3 * median(m.small));
  return 0;
}

// Networks of today's machines, per host: eight GPUs, which see each other over NVLink.
struct NamedNetwork {
  const char* name;
  double gbit;  // of a host, to the other hosts
};
constexpr NamedNetwork kNetworks[] = {
    {"8 x 400 Gbit/s", 3200}, {"400 Gbit/s", 400}, {"100 Gbit/s", 100}, {"25 Gbit/s", 25}};

Network gpus(int ranks, double host_gbit) {
  return {.ranks = ranks,
          .ranks_per_host = 8,
          .inside = 300e9,
          .between = host_gbit * 1e9 / 8 / 8,
          .hop = 10e-6,
          .inside_hop = 3e-6};
}

}  // namespace

int bench_scaling(const BenchComm& o) {
  check(parse_device(o.device) == Device{},
        "--mode scaling: takes the order of a step's parts from the CPU; leave out --device");
  Context cx = make_context({.device = o.device,
                             .amp = o.dtype == "bf16",
                             .threads = o.threads,
                             .pin_threads = true,
                             .listener = print_remark});
  const RandomBatch numbers(cx.device, o.batch_size, o.fixed_size[0], o.fixed_size[1], 0);
  Witness witness;
  Lone seen;
  Variant alone("alone", cx, o, &witness, kEach);
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    const double began = now();
    (*alone.step)(numbers.batch, 1e-4);
    if (i >= o.warmup) seen.note(began, now(), witness);
    witness.ready.clear();
  }
  const LoneStep here = seen.step(alone.parallel->buckets()), step = here.scaled_to(1e-3 * o.step_ms);
  const ParameterStore& store = alone.model->parameters();
  fmt::print(
      "{}: a step of {} ms on one GPU: {:.1f} ms until backward, {:.1f} backward, {:.1f} after; gradient {:.1f} MB\n"
      "(proportions of a step on this CPU: {:.0f} ms, batch {})\n\n",
      o.model, o.step_ms, 1e3 * step.until_backward, 1e3 * step.backward, 1e3 * step.after,
      static_cast<double>(store.grads.bytes()) / 1e6, 1e3 * here.seconds(), o.batch_size);
  const double half = static_cast<double>(store.grads.numel()) / 2;
  for (const LoneStep::Ready& r : step.ready) {
    if (static_cast<double>(r.begin) > half) continue;
    fmt::print("half of the gradient is there after {:.0f} % of backward\n\n", 100 * r.at / step.backward);
    break;
  }
  const auto cell = [&](const Network& net, double mib, int small) {
    const DataParallel::Options cut = bucket_options(mib);
    const PredictedStep p = predict_step(step, net, gradient_buckets(store, cut.bucket_bytes, cut.last_bytes), small);
    return fmt::format(" {:.1f} ms, {:.0f} % |", 1e3 * p.seconds, 100 * step.seconds() / p.seconds);
  };
  const auto table = [&](const std::string& first, const auto& rows, const auto& put) {
    fmt::print("| {} |", first);
    for (const NamedNetwork& n : kNetworks) fmt::print(" {} |", n.name);
    fmt::print("\n|---|---|---|---|---|\n");
    for (const auto row : rows) {
      fmt::print("| {} |", row);
      for (const NamedNetwork& n : kNetworks) fmt::print("{}", put(row, n.gbit));
      fmt::print("\n");
    }
    fmt::print("\n");
  };
  table(fmt::format("GPUs, buckets of {} MiB", o.bucket_mib), std::array{8, 16, 32, 64, 128, 256, 512, 1024},
        [&](int ranks, double gbit) { return cell(gpus(ranks, gbit), o.bucket_mib, 1); });
  table("MiB per bucket, 64 GPUs", std::array{1, 5, 25, 50, 200},
        [&](int mib, double gbit) { return cell(gpus(64, gbit), mib, 1); });
  // A synchronised batch norm reduces twice: statistics in forward, two gradients in backward.
  const auto& entries = store.entries();
  const auto norms = std::count_if(entries.begin(), entries.end(), [](const auto& e) { return e.counter != nullptr; });
  const int reductions = 2 * static_cast<int>(norms) + 1;
  table(fmt::format("GPUs, --sync-bn ({} more all-reduces)", reductions - 1), std::array{8, 64, 1024},
        [&](int ranks, double gbit) { return cell(gpus(ranks, gbit), o.bucket_mib, reductions); });
  return 0;
}

void add_comm_options(CLI::App& app, BenchComm& o) {
  app.add_option("--bucket-mib", o.bucket_mib, "with --mode comm and scaling: size of a gradient bucket")
      ->type_name("MiB")
      ->check(CLI::PositiveNumber);
  app.add_flag("--sync-bn", o.sync_bn, "with --mode comm: compute batch norm over all ranks");
  app.add_option("--link-gbit", o.link_gbit,
                 "with --mode comm: bandwidth of the network between the ranks, for the prediction; 0: no network")
      ->type_name("GBIT/S")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--step-ms", o.step_ms,
                 "with --mode scaling: time of a step on one GPU (32: 128 pictures at 4,000 per second)")
      ->type_name("MS")
      ->check(CLI::PositiveNumber);
  add_rank_options(app, o.ranks);
}

int bench_comm(const BenchComm& o) {
  return run_ranks("bench", o.ranks, o.threads, {}, [&](World& world) { return bench(o, world); });
}

}  // namespace hr
