#include "tools/bench_comm.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "hrnet/train_step.h"
#include "tools/infer.h"

namespace hr {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

// One way to run a step: its own model, since a tape listens to one DataParallel.
struct Variant {
  const char* name;
  std::unique_ptr<PoseModel> model;
  std::optional<Optimizer> optimizer;
  std::optional<DataParallel> parallel;
  std::optional<TrainStep> step;
  std::vector<double> seconds, waited, busy;

  Variant(const char* title, Context cx, const BenchComm& o, Comm* comm, bool overlap) : name(title) {
    model = make_model(cx, o.model, 17, 1, Init::torch);
    optimizer.emplace(cx, model->parameters(), AdamStep{});
    if (comm != nullptr) {
      parallel.emplace(
          *comm, model->parameters(),
          DataParallel::Options{.bucket_bytes = static_cast<int64_t>(o.bucket_mib * (1 << 20)), .overlap = overlap});
      if (o.sync_bn) cx.sync_bn = comm;
    }
    step.emplace(cx, *model, *optimizer, JointsLoss::official, parallel ? &*parallel : nullptr);
  }
};

int bench(const BenchComm& o, World& world) {
  Context cx = make_context(o.device == "cuda" ? fmt::format("cuda:{}", world.ranks.local_rank) : o.device,
                            o.dtype == "bf16", o.threads);
  make_engine(world, cx.device);
  Comm& comm = *world.comm;
  const int n = o.batch_size, h = o.fixed_size[0], w = o.fixed_size[1], joints = 17;
  Philox rng(1, static_cast<uint64_t>(comm.rank()), 0);
  std::vector<float> images(static_cast<size_t>(n) * h * w * 3),
      targets(static_cast<size_t>(n) * (h / 4) * (w / 4) * joints), weights(static_cast<size_t>(n) * joints, 1.0f);
  for (float& v : images) v = static_cast<float>(rng.normal());
  for (float& v : targets) v = static_cast<float>(rng.uniform());
  const TrainBatch batch{images, targets, weights, n, h, w};

  std::vector<std::unique_ptr<Variant>> variants;
  variants.push_back(std::make_unique<Variant>("alone", cx, o, nullptr, false));
  variants.push_back(std::make_unique<Variant>("overlapped", cx, o, &comm, true));
  variants.push_back(std::make_unique<Variant>("one after the other", cx, o, &comm, false));
  // In turn, so that whatever else the machine does meets all of them alike.
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    for (const auto& v : variants) {
      comm.barrier();
      comm.clock = {};
      const double started = now();
      (*v->step)(batch, 1e-4);
      double seconds = now() - started;
      // The slowest rank's is the step.
      std::vector<double> all(static_cast<size_t>(comm.size()));
      all[comm.rank()] = seconds;
      comm.all_reduce(std::span(all), Reduce::sum);
      seconds = *std::max_element(all.begin(), all.end());
      if (i < o.warmup) continue;
      v->seconds.push_back(seconds);
      v->waited.push_back(comm.clock.exposed);
      v->busy.push_back(comm.clock.busy);
    }
  }
  const ParameterStore& store = variants[0]->model->parameters();
  std::vector<double> whole, small;
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    comm.barrier();
    double started = now();
    comm.all_reduce(store.grads, Reduce::mean, cx.stream);
    if (cx.device.is_cuda()) cuda::synchronize(cx.stream);
    if (i >= o.warmup) whole.push_back(now() - started);
    started = now();
    constexpr int kSmall = 20;
    for (int k = 0; k < kSmall; ++k) {
      double one[] = {1.0};
      comm.all_reduce(std::span(one), Reduce::sum);
    }
    if (i >= o.warmup) small.push_back((now() - started) / kSmall);
  }
  comm.barrier();
  if (!world.first()) return 0;

  // Differences within one turn, then the median.
  const auto share = [&](const Variant& v) {
    std::vector<double> s;
    for (size_t i = 0; i < v.seconds.size(); ++i) s.push_back((v.seconds[i] - variants[0]->seconds[i]) / v.seconds[i]);
    return median(s);
  };
  const Variant &overlapped = *variants[1], &after = *variants[2];
  const double bytes = static_cast<double>(store.grads.bytes());
  if (o.json) {
    fmt::print(
        "{{\"mode\": \"comm\", \"model\": \"{}\", \"dtype\": \"{}\", \"ranks\": {}, \"engine\": \"{}\", "
        "\"batch_size\": {}, \"threads\": {}, \"bucket_mib\": {}, \"buckets\": {}, \"sync_bn\": {}, \"seconds_alone\": "
        "{:.6f}, \"seconds\": {:.6f}, \"seconds_without_overlap\": {:.6f}, \"added_share\": {:.4f}, "
        "\"added_share_without_overlap\": {:.4f}, \"waited_share\": {:.4f}, \"gradient_bytes\": {:.0f}, "
        "\"all_reduce_seconds\": {:.6f}, \"small_all_reduce_seconds\": {:.8f}}}\n",
        o.model, o.dtype, comm.size(), comm.engine(), n, compute_threads(), o.bucket_mib,
        overlapped.parallel->buckets().size(), o.sync_bn, median(variants[0]->seconds), median(overlapped.seconds),
        median(after.seconds), share(overlapped), share(after), median(overlapped.waited) / median(overlapped.seconds),
        bytes, median(whole), median(small));
    return 0;
  }
  fmt::print("{} {}x{}, {} ranks x batch {}, {}, {} threads each, engine {}, {} buckets of {} MiB{}\n", o.model, h, w,
             comm.size(), n, o.dtype, compute_threads(), comm.engine(), overlapped.parallel->buckets().size(),
             o.bucket_mib, o.sync_bn ? ", synchronised batch norm" : "");
  for (const auto& v : variants) {
    fmt::print("  step {:20} {:9.1f} ms", v->name, 1e3 * median(v->seconds));
    if (v != variants[0]) {
      fmt::print("   exchanging adds {:5.1f} % of it, waiting at its end is {:5.1f} %, in all-reduce {:7.1f} ms",
                 100 * share(*v), 100 * median(v->waited) / median(v->seconds), 1e3 * median(v->busy));
    }
    fmt::print("\n");
  }
  fmt::print("  gradient by itself       {:9.1f} ms   {:.1f} MB, {:.2f} GB/s per rank\n", 1e3 * median(whole),
             bytes / 1e6, bytes / median(whole) / 1e9);
  fmt::print("  8 bytes                  {:9.3f} ms\n", 1e3 * median(small));
  return 0;
}

}  // namespace

void add_comm_options(CLI::App& app, BenchComm& o) {
  app.add_option("--bucket-mib", o.bucket_mib, "with --mode comm: size of a gradient bucket")
      ->type_name("MiB")
      ->check(CLI::PositiveNumber);
  app.add_flag("--sync-bn", o.sync_bn, "with --mode comm: batch norm over all ranks");
  add_rank_options(app, o.ranks);
}

int bench_comm(const BenchComm& o) {
  return run_ranks("bench", o.ranks, o.threads, {}, [&](World& world) { return bench(o, world); });
}

}  // namespace hr
