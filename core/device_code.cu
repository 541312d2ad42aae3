// Returns whether this program contains code that the current GPU can run, by asking for the attributes of an empty
// kernel.
#include <cuda_runtime_api.h>

namespace hr::cuda {

bool has_code_for_this_device();

namespace {
__global__ void probe() {}
}  // namespace

bool has_code_for_this_device() {
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, probe) == cudaSuccess) return true;
  cudaGetLastError();
  return false;
}

}  // namespace hr::cuda
