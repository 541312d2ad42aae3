// bench --mode train | inference: how fast a step is, on random numbers.
#pragma once
#include <array>
#include <string>

namespace hr {

struct BenchStep {
  bool training = true;
  std::string model = "hrnet_w32", dtype = "f32", device = "cpu";
  std::array<int, 2> fixed_size{256, 192};
  int batch_size = 8, repeats = 7, warmup = 3, threads = 0;
  bool tf32 = false, exact = false, json = false;
};
// CPU: medians of single steps and, as the figure to quote, everything over the time inside convolution primitives.
// GPU: the time of `repeats` steps put under way without waiting, over their number; inference is the captured graph
// alone, and once more with the copies to and from the host.
void bench_step(const BenchStep& options);

}  // namespace hr
