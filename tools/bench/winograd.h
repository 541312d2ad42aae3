// Compares the speed of Winograd's convolutions with that of oneDNN's direct ones on this processor.
#pragma once
#include <array>
#include <string>

namespace hr {

struct WinogradBenchOptions {
  std::string model = "hrnet_w32";  // hrnet_wC
  std::array<int, 2> fixed_size{256, 192};
  int batch_size = 8, repeats = 7, warmup = 3, threads = 0;
  bool json = false;
};

// Runs both in turns and reports medians and their ratios: for every shape of the model's
// 3x3 convolutions with stride 1, forward and both gradients, and for the whole network, inference and a training
// step. Throws Error if the processor has no loops for the method.
void bench_winograd(const WinogradBenchOptions& options);

}  // namespace hr
