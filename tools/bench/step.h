// bench --mode train and --mode inference measure the speed of a step on random numbers.
#pragma once
#include <array>
#include <string>

namespace hr {

struct BenchStep {
  bool training = true;
  std::string model = "hrnet_w32", dtype = "f32";
  std::string weights;  // Inference with the network of this file; empty: random weights of `model`.
  std::string device = "cpu";
  std::array<int, 2> fixed_size{256, 192};
  int batch_size = 8, repeats = 7, warmup = 3, threads = 0;
  bool tf32 = false, exact = false, json = false;
};
// On a CPU it reports medians of single steps and, as the figure to quote, the whole time over the time inside
// convolution primitives. On a GPU it reports the time of `repeats` steps that are queued without waiting, divided by
// their number. Inference on a GPU is timed as the captured graph alone, and again with the copies to and from the
// host.
void bench_step(const BenchStep& options);

}  // namespace hr
