// bench --mode kernels: a training step (or inference) taken apart by kind of kernel.
#pragma once
#include <array>
#include <string>

namespace hr {

struct BenchKernels {
  bool training = true;
  std::string model = "hrnet_w32", dtype = "bf16", device = "cpu";
  std::array<int, 2> fixed_size{256, 192};
  int batch_size = 8, repeats = 3, threads = 0;
  double bandwidth = 0;  // TB/s for the prediction; 0: measured on a GPU, an H200's 4.3 elsewhere
  bool json = false;
};
// Prints launches, bytes and the time that the bytes need at that bandwidth, beside the measured time on a GPU. Without
// one, counts are those of the CPU's kernels, which move the same tensors.
void bench_kernels(const BenchKernels& options);

}  // namespace hr
