#include "core/cuda.h"

namespace hr::cuda {
namespace {
[[noreturn]] void absent() { fail("this program was built without CUDA"); }
}  // namespace

bool built() { return false; }
int device_count() { return 0; }
std::string why_no_device() { return "this program was built without CUDA"; }
DeviceInfo device_info(int) { absent(); }
std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }
void use_device(int) { absent(); }
size_t free_bytes() { absent(); }
void* allocate(size_t) { absent(); }
void deallocate(void*) noexcept {}
void* allocate_pinned(size_t) { absent(); }
void deallocate_pinned(void*) noexcept {}
Stream create_stream() { absent(); }
void destroy_stream(Stream) noexcept {}
Event create_event(bool) { absent(); }
void destroy_event(Event) noexcept {}
void record(Event, Stream) { absent(); }
void wait(Stream, Event) { absent(); }
bool done(Event) { absent(); }
void synchronize(Event) { absent(); }
void synchronize(Stream) { absent(); }
float elapsed_ms(Event, Event) { absent(); }
void copy(void*, const void*, size_t, Copy, Stream) { absent(); }
void zero(void*, size_t, Stream) { absent(); }
void begin_capture(Stream) { absent(); }
Graph end_capture(Stream) { absent(); }
void abort_capture(Stream) noexcept {}
void launch(Graph, Stream) { absent(); }
void destroy_graph(Graph) noexcept {}
void check_launch(const char*) {}

}  // namespace hr::cuda
