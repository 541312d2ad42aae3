// bench --mode kernels prints the time and bytes of a training step (or of inference) by kind of kernel.
#pragma once
#include <array>
#include <string>

namespace hr {

struct BenchKernels {
  bool training = true;
  std::string model = "hrnet_w32", dtype = "bf16", device = "cpu";
  std::array<int, 2> fixed_size{256, 192};
  int batch_size = 8, repeats = 3, threads = 0;
  double bandwidth = 0;  // TB/s for the prediction; 0: measured on a GPU, else an H200's 4.3
  bool json = false;
};
// Prints launches, bytes and the time that the bytes need at that bandwidth, on a GPU beside the measured time. On a
// CPU the counts are those of the CPU's kernels, which move the same tensors.
void bench_kernels(const BenchKernels& options);

}  // namespace hr
