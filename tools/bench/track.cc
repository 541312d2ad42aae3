#include "tools/bench/track.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <vector>

#include "core/error.h"
#include "core/io/json_write.h"
#include "hrnet/infer/tracker.h"

namespace hr {
namespace {

std::vector<Pose> frame(int number, int people, int joints) {
  std::vector<Pose> result(static_cast<size_t>(people));
  for (int k = 0; k < people; ++k) {
    Pose& d = result[static_cast<size_t>(k)];
    const double phase = 0.05 * number + k;
    d.box = {100.0 * k + 30 * std::sin(phase), 50 + 10 * std::cos(phase), 50, 120};
    d.score = 0.9;
    for (int j = 0; j < joints; ++j) {
      d.joints.push_back({static_cast<float>(d.box.x + 3 * j), static_cast<float>(d.box.y + 7 * j), 0.8f});
    }
  }
  return result;
}

double frames_per_second(int people, int joints, const TrackBenchOptions& o) {
  std::vector<std::vector<Pose>> frames;
  for (int f = 0; f < o.frames; ++f) frames.push_back(frame(f, people, joints));
  std::vector<double> rates;
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    Tracker tracker;
    size_t followed = 0;
    const std::clock_t start = std::clock();
    for (int f = 0; f < o.frames; ++f) followed += tracker.update(f / 30.0, frames[static_cast<size_t>(f)]).size();
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    check(followed == static_cast<size_t>(o.frames) * static_cast<size_t>(people),
          "bench: the tracker lost people whom it must follow");
    if (i >= o.warmup) rates.push_back(o.frames / std::max(seconds, 1e-9));
  }
  std::nth_element(rates.begin(), rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2), rates.end());
  return rates[rates.size() / 2];
}

}  // namespace

void bench_track(const TrackBenchOptions& options) {
  if (!options.json) fmt::print("people  joints  frames/s of one core\n");
  for (const auto& [people, joints] : {std::pair{10, 0}, {10, 17}, {100, 0}, {100, 17}}) {
    const double rate = frames_per_second(people, joints, options);
    if (options.json) {
      std::string text;
      JsonWriter json(text);
      json.begin_object().member("mode", "track").member("people", people).member("joints", joints);
      json.member("frames_per_s", JsonFixed{rate, 0}).end();
      fmt::print("{}\n", text);
    } else {
      fmt::print("{:>6}  {:>6}  {:.0f}\n", people, joints, rate);
    }
  }
}

}  // namespace hr
