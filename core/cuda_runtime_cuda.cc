#include <cuda_runtime_api.h>

#include "core/cuda.h"
#include "core/launch_order.h"

namespace hr::cuda {

bool has_code_for_this_device();  // core/device_code.cu

namespace {

void expect(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // Clears the error, which is being reported, so that the next call starts clean.
  const std::string text = fmt::format("CUDA: {}: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
  // Instantiating a graph and launching a kernel for the first time need device memory too.
  if (status == cudaErrorMemoryAllocation) throw OutOfMemory("out of GPU memory: " + text, 0);
  throw Error(text);
}

}  // namespace

bool built() { return true; }

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

std::string why_no_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return {};
  cudaGetLastError();
  int driver = 0, runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = CUDART_VERSION;
  if (driver == 0) return "no NVIDIA driver is installed on this machine";
  if (status == cudaErrorInsufficientDriver)
    return fmt::format("the NVIDIA driver supports CUDA {}, this program needs {}; update the driver",
                       version_text(driver), version_text(runtime));
  if (status == cudaSuccess || status == cudaErrorNoDevice)
    return "the driver sees no GPU (is CUDA_VISIBLE_DEVICES set to none?)";
  return fmt::format("{} ({})", cudaGetErrorString(status), cudaGetErrorName(status));
}

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

DeviceInfo device_info(int index) {
  cudaDeviceProp p{};
  expect(cudaGetDeviceProperties(&p, index), "device properties");
  DeviceInfo info{.name = p.name,
                  .major = p.major,
                  .minor = p.minor,
                  .multiprocessors = p.multiProcessorCount,
                  .total_bytes = p.totalGlobalMem,
                  .l2_bytes = static_cast<size_t>(p.l2CacheSize)};
  expect(cudaDriverGetVersion(&info.driver), "driver version");
  expect(cudaRuntimeGetVersion(&info.runtime), "runtime version");
  char bus_id[32] = {};
  expect(cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, index), "bus id");
  info.bus_id = bus_id;
  return info;
}

void use_device(int index) {
  const int count = device_count();
  check_field(count > 0, "device", "cuda:{}: {}", index, why_no_device());
  check_field(index < count, "device", "cuda:{}: this machine has {} device{}, the last is cuda:{}", index, count,
              count == 1 ? "" : "s", count - 1);
  expect(cudaSetDevice(index), fmt::format("device {}", index));
  const DeviceInfo info = device_info(index);
  check_field(has_code_for_this_device(), "device",
              "cuda:{}: {} has compute capability {}.{}, this program has no code for it; "
              "build with -DCMAKE_CUDA_ARCHITECTURES={}{}",
              index, info.name, info.major, info.minor, info.major, info.minor);
}

size_t free_bytes() {
  size_t free = 0, total = 0;
  expect(cudaMemGetInfo(&free, &total), "memory information");
  return free;
}

void* allocate(size_t bytes) {
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw OutOfMemory(fmt::format("out of GPU memory: {} MiB asked for, {} MiB free", bytes >> 20, free_bytes() >> 20),
                      bytes);
  }
  expect(status, "cudaMalloc");
  return p;
}

void deallocate(void* pointer) noexcept { cudaFree(pointer); }

void* allocate_pinned(size_t bytes) {
  void* p = nullptr;
  const cudaError_t status = cudaMallocHost(&p, bytes);
  if (status == cudaErrorMemoryAllocation) {  // The host's memory is exhausted, so a smaller batch would not help.
    cudaGetLastError();
    fail("CUDA: the host has no {} MiB of memory left to pin", bytes >> 20);
  }
  expect(status, "cudaMallocHost");
  return p;
}

void deallocate_pinned(void* pointer) noexcept { cudaFreeHost(pointer); }

Stream create_stream() {
  cudaStream_t s = nullptr;
  expect(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "stream");
  return s;
}
void destroy_stream(Stream stream) noexcept {
  note_other_work(stream);
  cudaStreamDestroy(stream);
}

Event create_event(bool timing) {
  cudaEvent_t e = nullptr;
  expect(cudaEventCreateWithFlags(&e, timing ? cudaEventDefault : cudaEventDisableTiming), "event");
  return e;
}
void destroy_event(Event event) noexcept { cudaEventDestroy(event); }
void record(Event event, Stream stream) { expect(cudaEventRecord(event, stream), "event record"); }
void wait(Stream stream, Event event) {
  note_other_work(stream);
  expect(cudaStreamWaitEvent(stream, event, 0), "event wait");
}
bool done(Event event) {
  const cudaError_t status = cudaEventQuery(event);
  if (status == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  expect(status, "work on the GPU");
  return true;
}
void synchronize(Event event) { expect(cudaEventSynchronize(event), "work on the GPU"); }
void synchronize(Stream stream) { expect(cudaStreamSynchronize(stream), "work on the GPU"); }
float elapsed_ms(Event begin, Event end) {
  float ms = 0;
  expect(cudaEventElapsedTime(&ms, begin, end), "event times");
  return ms;
}

void copy(void* to, const void* from, size_t bytes, Copy kind, Stream stream) {
  constexpr cudaMemcpyKind kinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice};
  note_other_work(stream);
  expect(cudaMemcpyAsync(to, from, bytes, kinds[static_cast<int>(kind)], stream), "copy");
}
void zero(void* to, size_t bytes, Stream stream) {
  note_other_work(stream);
  expect(cudaMemsetAsync(to, 0, bytes, stream), "memset");
}

void begin_capture(Stream stream) {
  note_other_work(stream);
  expect(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin of a graph capture");
}
Graph end_capture(Stream stream) {
  note_other_work(stream);
  cudaGraph_t graph = nullptr;
  expect(cudaStreamEndCapture(stream, &graph), "graph capture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  expect(status, "graph instantiation");
  return executable;
}
void abort_capture(Stream stream) noexcept {
  note_other_work(stream);
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream, &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}
void launch(Graph graph, Stream stream) {
  note_other_work(stream);
  expect(cudaGraphLaunch(graph, stream), "graph launch");
}
void destroy_graph(Graph graph) noexcept { cudaGraphExecDestroy(graph); }

void check_launch(const char* what) { expect(cudaGetLastError(), what); }

}  // namespace hr::cuda
