// The CUDA runtime as the rest of the program sees it. Including this needs no CUDA header. In a build without CUDA a
// stub takes its place: every call that needs a device then throws an Error that says so.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/cuda_types.h"
#include "core/error.h"

namespace hr {

// A device allocation failed. TrainStep adds to the message which batch size would fit.
class OutOfMemory : public Error {
 public:
  OutOfMemory(const std::string& what, size_t asked_bytes) : Error(what), asked(asked_bytes) {}
  size_t asked;
};

namespace cuda {

bool built();  // Returns whether this program was compiled with CUDA.

// Returns the number of usable devices; 0 without a driver. Never throws: any error counts as no device, because
// cudaGetDeviceCount may leave the count untouched when it fails.
int device_count();
// Says why device_count() is 0: no device, a driver that is too old for the runtime, or a build without CUDA. Empty
// when there is a device.
std::string why_no_device();

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;  // The compute capability.
  int multiprocessors = 0;
  size_t total_bytes = 0, l2_bytes = 0;
  int driver = 0, runtime = 0;  // In CUDA's numbering: 13000 is 13.0.
  std::string bus_id;           // For example "0000:19:00.0"; distinguishes the GPUs of a host.
};
DeviceInfo device_info(int index);
// Returns "13.0" for 13000.
std::string version_text(int version);
// Makes device `index` current for this thread. Throws Error if the index is out of range or if this program contains
// no code for the GPU.
void use_device(int index);
// Returns the free memory of the current device in bytes.
size_t free_bytes();

void* allocate(size_t bytes);  // Throws OutOfMemory with the requested and the free bytes.
void deallocate(void* pointer) noexcept;
void* allocate_pinned(size_t bytes);  // Page-locked host memory, for asynchronous copies.
void deallocate_pinned(void* pointer) noexcept;

Stream create_stream();
void destroy_stream(Stream stream) noexcept;
Event create_event(bool timing = false);
void destroy_event(Event event) noexcept;
void record(Event event, Stream stream);
void wait(Stream stream, Event event);  // Work submitted to `stream` from now on waits for `event`.
bool done(Event event);
void synchronize(Event event);
void synchronize(Stream stream);
float elapsed_ms(Event begin, Event end);  // Both events must have been made with timing.

enum class Copy { host_to_device, device_to_host, device_to_device };
// Copies on the stream. The copy is asynchronous if the host memory is pinned.
void copy(void* to, const void* from, size_t bytes, Copy kind, Stream stream);
void zero(void* to, size_t bytes, Stream stream);

// All work submitted to `stream` between begin and end, and to streams that are forked from it by events, becomes one
// graph.
void begin_capture(Stream stream);
Graph end_capture(Stream stream);
void abort_capture(Stream stream) noexcept;
void launch(Graph graph, Stream stream);
void destroy_graph(Graph graph) noexcept;

}  // namespace cuda
}  // namespace hr
