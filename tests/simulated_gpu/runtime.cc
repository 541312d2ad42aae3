// core/cuda.h on the simulated device.
#include <cstring>

#include "core/launch_order.h"
#include "tests/simulated_gpu/streams.h"

namespace hr {
namespace {

Simulator& simulator_() {
  static auto* one = new Simulator;  // outlives everything that frees its memory at exit
  return *one;
}

template <class Body>
auto locked(const Body& body) {
  Simulator& s = simulator_();
  const std::lock_guard lock(s.mutex);
  return body(s);
}

}  // namespace

namespace simulator {
void enqueue(cuda::Stream stream, std::function<void()> kernel) {
  locked([&](Simulator& s) { s.enqueue(stream, std::move(kernel)); });
}
void enqueue_dependent(cuda::Stream stream, DependentKernel kernel) {
  locked([&](Simulator& s) { s.enqueue_dependent(stream, std::move(kernel)); });
}
bool protects_memory() { return Simulator::protects(); }
void set_order(const std::string& order) {
  locked([&](Simulator& s) {
    s.finish_all();
    s.set_order(order);
  });
}
}  // namespace simulator

namespace cuda {

bool built() { return true; }
int device_count() { return 1; }
std::string why_no_device() { return {}; }
std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }
DeviceInfo device_info(int) {
  return {.name = "simulated GPU",
          .major = 9,
          .minor = 0,
          .multiprocessors = 1,
          .total_bytes = kTotal,
          .l2_bytes = 1 << 20,
          .driver = 13000,
          .runtime = 13000,
          .bus_id = "0000:00:00.0"};
}
void use_device(int index) { check_field(index == 0, "device", "cuda:{}: there is one simulated device", index); }
size_t free_bytes() {
  return locked([](Simulator& s) { return s.free_bytes(); });
}
void* allocate(size_t bytes) {
  return locked([&](Simulator& s) { return s.allocate(bytes); });
}
void deallocate(void* pointer) noexcept {
  locked([&](Simulator& s) { s.deallocate(pointer); });
}
void* allocate_pinned(size_t bytes) {
  return locked([&](Simulator& s) { return s.allocate_pinned(bytes); });
}
void deallocate_pinned(void* pointer) noexcept {
  locked([&](Simulator& s) { s.deallocate_pinned(pointer); });
}
Stream create_stream() {
  auto* stream = new CUstream_st;
  locked([&](Simulator& s) { s.add(stream); });
  return stream;
}
void destroy_stream(Stream stream) noexcept {
  note_other_work(stream);
  locked([&](Simulator& s) { s.remove(stream); });
  delete stream;
}
Event create_event(bool) { return new CUevent_st; }
void destroy_event(Event event) noexcept { delete event; }
void record(Event event, Stream stream) {
  locked([&](Simulator& s) { s.record(event, stream); });
}
void wait(Stream stream, Event event) {
  note_other_work(stream);
  locked([&](Simulator& s) { s.wait(stream, event); });
}
bool done(Event event) {
  return locked([&](Simulator& s) { return s.done(event); });
}
void synchronize(Event event) {
  locked([&](Simulator& s) { s.synchronize(event); });
}
void synchronize(Stream stream) {
  locked([&](Simulator& s) { s.synchronize(stream); });
}
float elapsed_ms(Event begin, Event end) {
  return locked([&](Simulator& s) { return s.elapsed_ms(begin, end); });
}
void copy(void* to, const void* from, size_t bytes, Copy kind, Stream stream) {
  note_other_work(stream);
  locked([&](Simulator& s) { s.copy(to, from, bytes, kind, stream); });
}
void zero(void* to, size_t bytes, Stream stream) {
  note_other_work(stream);
  locked([&](Simulator& s) { s.enqueue(stream, [to, bytes] { std::memset(to, 0, bytes); }); });
}
void begin_capture(Stream stream) {
  note_other_work(stream);
  locked([&](Simulator& s) { s.begin_capture(stream); });
}
Graph end_capture(Stream stream) {
  note_other_work(stream);
  return locked([&](Simulator& s) { return s.end_capture(stream); });
}
void abort_capture(Stream stream) noexcept {
  note_other_work(stream);
  locked([&](Simulator& s) { s.abort_capture(stream); });
}
void launch(Graph graph, Stream stream) {
  note_other_work(stream);
  locked([&](Simulator& s) { s.launch(graph, stream); });
}
void destroy_graph(Graph graph) noexcept {
  locked([&](Simulator& s) { s.destroy_graph(graph); });
}
void check_launch(const char*) {}

}  // namespace cuda
}  // namespace hr
