// bench --mode track measures how many frames per second the tracker processes on one core, without a network.
#pragma once

namespace hr {

struct TrackBenchOptions {
  int frames = 3000;
  int repeats = 7, warmup = 1;
  bool json = false;
};

// Tracks 10 and 100 people who walk in circles, with boxes alone and with 17 joints each. Reports the median number of
// frames per second of processor time.
void bench_track(const TrackBenchOptions& options);

}  // namespace hr
