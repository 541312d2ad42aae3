#include "tools/bench/load.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json_write.h"
#include "core/parallel.h"
#include "core/stopwatch.h"
#include "hrnet/model/load.h"
#include "tools/cli/model_options.h"

namespace hr {
namespace {

// One model's state dict in both containers. The destructor removes the files.
struct Files {
  fs::path folder = fs::temp_directory_path() / fmt::format("hr_bench_load_{}", ::getpid());
  std::vector<fs::path> paths;

  explicit Files(const PoseModel& model) {
    fs::create_directories(folder);
    paths = {folder / "weights.safetensors", folder / "weights.pth"};
    save_state_dict(paths[0], model.parameters(), {});
    const SafetensorsFile file(paths[0]);
    std::vector<NamedArray> arrays;
    for (const std::string& name : file.names()) {
      const ArrayView& a = file.at(name);
      arrays.push_back({name, a.dtype, a.shape, a.bytes});
    }
    write_pth(paths[1], arrays);
  }
  ~Files() {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
};

struct Times {
  std::vector<double> copy, team_copy, open, load, ratio, team_ratio;
};

Times measure(const fs::path& path, PoseModel& model, const LoadBenchOptions& o) {
  std::vector<std::byte> target(fs::file_size(path), std::byte{1});
  const auto size = static_cast<int64_t>(target.size());
  Times t;
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    const double a = now();
    {
      const MappedFile file(path);
      std::memcpy(target.data(), file.bytes().data(), target.size());
    }
    const double b = now();
    {
      const MappedFile file(path);
      constexpr int64_t kChunk = 1 << 20;
#pragma omp parallel for schedule(static)
      for (int64_t at = 0; at < size; at += kChunk)
        std::memcpy(target.data() + at, file.bytes().data() + at, static_cast<size_t>(std::min(kChunk, size - at)));
    }
    const double c = now();
    double d = 0;
    {
      const WeightFile file(path);
      d = now();
      load_weights(file, model);
    }
    const double e = now();  // both sides include unmapping the file
    if (i < o.warmup) continue;
    t.copy.push_back(b - a);
    t.team_copy.push_back(c - b);
    t.open.push_back(d - c);
    t.load.push_back(e - c);
    t.ratio.push_back((e - c) / (b - a));
    t.team_ratio.push_back((e - c) / (c - b));
  }
  return t;
}

}  // namespace

void bench_load(const LoadBenchOptions& o) {
  Context cx = make_context({.threads = o.threads});
  std::unique_ptr<PoseModel> model;
  std::vector<fs::path> paths{o.weights};
  std::optional<Files> files;
  if (o.weights.empty()) {
    model = make_model(cx, o.model, 17, 1);
    files.emplace(*model);
    paths = files->paths;
  } else {
    model = load_model(cx, fs::path(o.weights));
  }
  for (const fs::path& path : paths) {
    const std::string container = WeightFile(path).container();
    const auto bytes = fs::file_size(path);
    const Times t = measure(path, *model, o);
    if (o.json) {
      std::string text;
      JsonWriter json(text);
      json.begin_object().member("mode", "load").member("model", model->name()).member("container", container);
      json.member("bytes", bytes).member("threads", compute_threads()).member("repeats", o.repeats);
      json.member("copy_seconds", JsonFixed{median(t.copy)})
          .member("team_copy_seconds", JsonFixed{median(t.team_copy)});
      json.member("open_seconds", JsonFixed{median(t.open)}).member("load_seconds", JsonFixed{median(t.load)});
      json.member("load_over_copy", JsonFixed{median(t.ratio), 4});
      json.member("load_over_team_copy", JsonFixed{median(t.team_ratio), 4}).end();
      fmt::print("{}\n", text);
      continue;
    }
    fmt::print("{} load, {}, {:.1f} MB, {} (medians of {})\n", model->name(), container,
               static_cast<double>(bytes) / 1e6, counted(compute_threads(), "thread"), o.repeats);
    fmt::print("  copy, one thread  {:9.2f} ms\n  copy, all threads {:9.2f} ms\n", 1e3 * median(t.copy),
               1e3 * median(t.team_copy));
    fmt::print("  open and load     {:9.2f} ms   (opening {:.2f} ms)\n", 1e3 * median(t.load), 1e3 * median(t.open));
    fmt::print("  load / copy       {:9.3f}      ({:.3f} against all threads)\n", median(t.ratio),
               median(t.team_ratio));
  }
}

}  // namespace hr
