// The CUDA runtime as the rest of the program sees it: no CUDA header is needed to include this, and without CUDA a
// stub takes its place (every call that needs a device then says that the program was built without CUDA).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/cuda_types.h"
#include "core/error.h"

namespace hr {

// A device allocation that did not fit. TrainStep adds the batch size that would.
class OutOfMemory : public Error {
 public:
  OutOfMemory(const std::string& what, size_t asked_bytes) : Error(what), asked(asked_bytes) {}
  size_t asked;
};

namespace cuda {

bool built();  // whether this program was compiled with CUDA

// Devices that can be used; 0 without a driver. Never throws: cudaGetDeviceCount may leave the count untouched when it
// fails, so any error means none.
int device_count();
// Why device_count() is 0: no device, a driver too old for the runtime, built without CUDA. Empty when there is one.
std::string why_no_device();

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  size_t total_bytes = 0, l2_bytes = 0;
  int driver = 0, runtime = 0;  // as CUDA numbers them: 13000 is 13.0
  std::string bus_id;           // "0000:19:00.0": tells the GPUs of a host apart
};
DeviceInfo device_info(int index);
// "13.0"
std::string version_text(int version);
// Makes `index` current for this thread. Error: index out of range, code of this program too new for the GPU.
void use_device(int index);
// Free memory of the current device, bytes.
size_t free_bytes();

void* allocate(size_t bytes);  // OutOfMemory: what was asked, what is free
void deallocate(void* pointer) noexcept;
void* allocate_pinned(size_t bytes);  // host memory that copies asynchronously
void deallocate_pinned(void* pointer) noexcept;

Stream create_stream();
void destroy_stream(Stream stream) noexcept;
Event create_event(bool timing = false);
void destroy_event(Event event) noexcept;
void record(Event event, Stream stream);
void wait(Stream stream, Event event);  // work put on `stream` from now on waits for the event
bool done(Event event);
void synchronize(Event event);
void synchronize(Stream stream);
float elapsed_ms(Event begin, Event end);  // events made with timing

enum class Copy { host_to_device, device_to_host, device_to_device };
void copy(void* to, const void* from, size_t bytes, Copy kind, Stream stream);  // asynchronous where the memory allows
void zero(void* to, size_t bytes, Stream stream);

// Everything put on `stream`, and on streams forked from it by events, between begin and end becomes one graph.
void begin_capture(Stream stream);
Graph end_capture(Stream stream);
void abort_capture(Stream stream) noexcept;
void launch(Graph graph, Stream stream);
void destroy_graph(Graph graph) noexcept;

}  // namespace cuda
}  // namespace hr
