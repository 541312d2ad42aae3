// core/cuda.h on the simulated device.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "core/philox.h"
#include "tests/simulated_gpu/simulator.h"

// The record of an event in its stream.
struct Marker {
  bool done = false;
  CUstream_st* stream = nullptr;
  std::chrono::steady_clock::time_point at;
};

struct Op {
  std::function<void()> work;           // may be empty
  std::shared_ptr<Marker> after, mark;  // waits for one, signals the other
};

// Work between begin_capture and end_capture.
struct Capture {
  CUstream_st* origin = nullptr;
  std::thread::id thread;
  struct Node {
    std::function<void()> work;
    std::set<size_t> after;
  };
  std::vector<Node> nodes;
  std::set<CUstream_st*> streams;
  bool over = false;
  std::string broken;  // the call that invalidated it
};

struct CUstream_st {
  std::deque<Op> queue;
  std::shared_ptr<Capture> capture;
  std::set<size_t> heads;  // nodes of the capture that the next one depends on
};

struct CUevent_st {
  std::shared_ptr<Marker> marker;
  std::shared_ptr<Capture> capture;  // of the last record, if it was captured
  std::set<size_t> nodes;
};

struct CUgraphExec_st {
  std::vector<Capture::Node> nodes;
};

namespace hr {
namespace {

constexpr size_t kTotal = size_t{2} << 30, kAlignment = 256, kPoisoned = size_t{256} << 20;
// The memory that the driver needs for an instantiated graph; on a real GPU it varies.
constexpr size_t kGraphBytes = size_t{64} << 20;

// The downloads into pinned memory that are queued. There is more than one only where batches overlap.
struct Downloads {
  int waiting = 0, most = 0;  // protected by the simulator's lock
  void begin() { most = std::max(most, ++waiting); }
  void end() { --waiting; }
  ~Downloads() {
    if (std::getenv("HRNET_SIMULATED_REPORT") != nullptr)
      fmt::print(stderr, "simulated GPU: at most {} downloads at a time\n", most);
  }
} downloads;

class Simulator {
 public:
  Simulator() {
    // With huge pages, protecting the memory changes only a few hundred entries.
    constexpr size_t huge = size_t{2} << 20;
    void* all = ::mmap(nullptr, kTotal + huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    heap_ = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(all) + huge - 1) / huge * huge);
    ::madvise(heap_, kTotal, MADV_HUGEPAGE);
    if (!protects()) ::mprotect(heap_, kTotal, PROT_READ | PROT_WRITE);
    free_[0] = kTotal;
    const char* order = std::getenv("HRNET_SIMULATED_ORDER");
    set_order(order != nullptr ? order : "lazy");
  }

  void set_order(const std::string& order) {
    lazy_ = order == "lazy";
    eager_ = order == "eager";
    random_ = Philox(lazy_ || eager_ ? 0 : std::stoull(order), 0, 0);
  }

  // Without huge pages every test would take minutes.
  static bool protects() {
    static const bool huge = [] {
      std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
      std::string text;
      return std::getline(file, text) && text.find("[never]") == std::string::npos;
    }();
    return huge;
  }

  // ---- memory ----

  void* allocate(size_t bytes) {
    refuse_in_capture("allocating memory");
    bytes = std::max<size_t>((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
    const auto it = std::find_if(free_.begin(), free_.end(), [&](const auto& f) { return f.second >= bytes; });
    if (it == free_.end() || bytes > free_bytes())
      throw OutOfMemory(
          fmt::format("out of GPU memory: {} MiB asked for, {} MiB free", bytes >> 20, free_bytes() >> 20), bytes);
    const auto [offset, size] = *it;
    free_.erase(it);
    if (size > bytes) free_[offset + bytes] = size - bytes;
    used_[offset] = bytes;
    if (bytes <= kPoisoned) {
      const Open open(*this);
      std::memset(heap_ + offset, 0xff, bytes);
    }
    return heap_ + offset;
  }
  // Waits for everything, as cudaFree does.
  void deallocate(void* pointer) {
    if (pointer == nullptr) return;
    break_captures("freeing memory");
    finish_all();
    const auto it = used_.find(static_cast<size_t>(static_cast<std::byte*>(pointer) - heap_));
    if (it == used_.end()) give_up("freed memory that was never allocated");
    auto [offset, size] = *it;
    used_.erase(it);
    auto next = free_.lower_bound(offset);
    if (next != free_.end() && offset + size == next->first) {
      size += next->second;
      next = free_.erase(next);
    }
    if (next != free_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == offset) {
        before->second += size;
        return;
      }
    }
    free_[offset] = size;
  }
  size_t free_bytes() const {
    size_t sum = 0;
    for (const auto& [offset, size] : free_) sum += size;
    return sum - std::min(sum, graphs_ * kGraphBytes);
  }
  void* allocate_pinned(size_t bytes) {
    refuse_in_capture("allocating pinned memory");
    auto* p = static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
    pinned_[p] = bytes;
    return p;
  }
  void deallocate_pinned(void* pointer) {
    if (pointer == nullptr) return;
    finish_all();
    pinned_.erase(static_cast<const std::byte*>(pointer));
    std::free(pointer);
  }

  // ---- streams ----

  void add(CUstream_st* stream) { streams_.insert(stream); }
  void remove(CUstream_st* stream) {
    if (stream->capture) stream->capture->broken = "a stream that was destroyed";
    while (!stream->queue.empty()) advance(*stream);
    streams_.erase(stream);
  }

  void enqueue(CUstream_st* stream, std::function<void()> work) {
    if (stream == nullptr) fail("simulated GPU: work on no stream");
    if (stream->capture) {
      Capture& c = *stream->capture;
      c.nodes.push_back({std::move(work), stream->heads});
      stream->heads = {c.nodes.size() - 1};
      return;
    }
    push(*stream, {.work = std::move(work)});
  }

  void record(CUevent_st* event, CUstream_st* stream) {
    if (stream == nullptr) fail("simulated GPU: an event on no stream");
    event->capture = stream->capture;
    if (stream->capture) {
      event->nodes = stream->heads;
      event->marker.reset();
      return;
    }
    event->marker = std::make_shared<Marker>();
    event->marker->stream = stream;
    push(*stream, {.mark = event->marker});
  }

  void wait(CUstream_st* stream, CUevent_st* event) {
    if (event->capture) {
      if (event->capture->over) fail("simulated GPU: waiting for an event of a capture that is over");
      if (stream->capture && stream->capture != event->capture) fail("simulated GPU: an event of another capture");
      stream->capture = event->capture;
      stream->capture->streams.insert(stream);
      stream->heads.insert(event->nodes.begin(), event->nodes.end());
      return;
    }
    if (stream->capture) fail("simulated GPU: a captured stream waits for an event of the outside");
    if (event->marker && !event->marker->done) push(*stream, {.after = event->marker});
  }

  float elapsed_ms(const CUevent_st* begin, const CUevent_st* end) const {
    for (const CUevent_st* event : {begin, end}) {
      if (!event->marker) fail("simulated GPU: the time of an event that was never recorded");
      if (!event->marker->done) fail("simulated GPU: the time of an event that nobody has waited for");
    }
    return std::chrono::duration<float, std::milli>(end->marker->at - begin->marker->at).count();
  }

  void synchronize(CUevent_st* event) {
    if (event->capture) fail("simulated GPU: waiting for an event that is being captured");
    refuse_in_capture("waiting");
    if (event->marker) finish(*event->marker);
  }
  void synchronize(CUstream_st* stream) {
    if (stream->capture) fail("simulated GPU: waiting for a stream that is being captured");
    refuse_in_capture("waiting");
    finish(*stream);
  }
  bool done(CUevent_st* event) {
    if (event->capture) fail("simulated GPU: asking for an event that is being captured");
    stir();  // time passes for a caller that polls
    if (lazy_ && event->marker) advance(*event->marker->stream);
    return !event->marker || event->marker->done;
  }

  void copy(void* to, const void* from, size_t bytes, cuda::Copy kind, CUstream_st* stream) {
    const bool to_host = kind == cuda::Copy::device_to_host, from_host = kind == cuda::Copy::host_to_device;
    if (!from_host) expect_device(from, bytes);
    if (!to_host) expect_device(to, bytes);
    const void* host = from_host ? from : to;
    const bool pageable = (from_host || to_host) && !is_pinned(host, bytes);
    if (pageable && stream->capture) fail("simulated GPU: a copy of pageable memory in a capture");
    if (bytes == 0) return;  // nothing, whose address may be null
    if (pageable && from_host) {
      // The driver has read the memory when the call returns.
      const auto* begin = static_cast<const std::byte*>(from);
      const auto staged = std::make_shared<std::vector<std::byte>>(begin, begin + bytes);
      return enqueue(stream, [to, staged] { std::memcpy(to, staged->data(), staged->size()); });
    }
    if (to_host && !pageable && !stream->capture) {
      downloads.begin();
      return enqueue(stream, [to, from, bytes] {
        std::memcpy(to, from, bytes);
        downloads.end();
      });
    }
    enqueue(stream, [to, from, bytes] { std::memcpy(to, from, bytes); });
    if (pageable) finish(*stream);
  }

  // ---- graphs ----

  void begin_capture(CUstream_st* stream) {
    if (stream->capture) fail("simulated GPU: the stream is being captured already");
    stream->capture = std::make_shared<Capture>();
    stream->capture->origin = stream;
    stream->capture->thread = std::this_thread::get_id();
    stream->capture->streams = {stream};
    stream->heads.clear();
    captures_.push_back(stream->capture);
  }
  CUgraphExec_st* end_capture(CUstream_st* stream) {
    const std::shared_ptr<Capture> c = stream->capture;
    if (!c || c->origin != stream) fail("simulated GPU: the stream's capture began elsewhere");
    // Every node must lead to the last nodes of the origin's stream.
    std::vector<bool> joined(c->nodes.size());
    std::vector<size_t> open(stream->heads.begin(), stream->heads.end());
    while (!open.empty()) {
      const size_t n = open.back();
      open.pop_back();
      if (joined[n]) continue;
      joined[n] = true;
      open.insert(open.end(), c->nodes[n].after.begin(), c->nodes[n].after.end());
    }
    close(*c);
    if (!c->broken.empty()) fail("simulated GPU: the capture was broken by {}", c->broken);
    const auto left = std::count(joined.begin(), joined.end(), false);
    if (left > 0)
      fail("simulated GPU: {} of {} captured nodes are on streams that were not joined", left, joined.size());
    if (free_bytes() < kGraphBytes) throw OutOfMemory("out of GPU memory: graph instantiation", kGraphBytes);
    ++graphs_;
    return new CUgraphExec_st{std::move(c->nodes)};
  }
  void destroy_graph(CUgraphExec_st* graph) {
    if (graph == nullptr) return;
    --graphs_;
    delete graph;
  }
  void abort_capture(CUstream_st* stream) {
    if (stream->capture) close(*stream->capture);
  }
  void launch(const CUgraphExec_st* graph, CUstream_st* stream) {
    enqueue(stream, [this, nodes = graph->nodes] { run(nodes); });
  }

  void finish_all() {
    for (CUstream_st* s : std::set(streams_)) finish(*s);
  }

  std::recursive_mutex mutex;

 private:
  // While one of these objects exists, device memory can be accessed.
  class Open {
   public:
    explicit Open(Simulator& s) : s_(s) {
      if (s_.open_++ == 0 && s_.protects()) ::mprotect(s_.heap_, kTotal, PROT_READ | PROT_WRITE);
    }
    ~Open() {
      if (--s_.open_ == 0 && s_.protects()) ::mprotect(s_.heap_, kTotal, PROT_NONE);
    }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;

   private:
    Simulator& s_;
  };

  [[noreturn]] static void give_up(const char* why) {
    std::fprintf(stderr, "simulated GPU: %s\n", why);
    std::abort();
  }

  void expect_device(const void* p, size_t bytes) const {
    const auto* b = static_cast<const std::byte*>(p);
    if (bytes > 0 && (b < heap_ || b + bytes > heap_ + kTotal))
      fail("simulated GPU: a copy takes host memory for its own");
  }
  bool is_pinned(const void* p, size_t bytes) const {
    const auto* b = static_cast<const std::byte*>(p);
    const auto it = pinned_.upper_bound(b);
    if (it == pinned_.begin()) return false;
    const auto& [begin, size] = *std::prev(it);
    return b >= begin && b + bytes <= begin + size;
  }

  void push(CUstream_st& stream, Op op) {
    stream.queue.push_back(std::move(op));
    if (eager_) return finish(stream);
    stir();
  }
  // Does some of the work, in an arbitrary order.
  void stir() {
    if (lazy_ || eager_) return;
    const Open open(*this);
    for (uint64_t n = random_.below(4); n > 0; --n) {
      auto it = streams_.begin();
      std::advance(it, static_cast<ptrdiff_t>(random_.below(streams_.size())));
      CUstream_st& s = **it;
      for (uint64_t k = random_.below(8); k > 0 && runnable(s); --k) advance(s);
    }
  }
  static bool runnable(const CUstream_st& s) {
    return !s.queue.empty() && (!s.queue.front().after || s.queue.front().after->done);
  }
  void finish(const Marker& marker) {
    const Open open(*this);
    while (!marker.done) advance(*marker.stream);
  }
  void finish(CUstream_st& stream) {
    if (stream.queue.empty()) return;
    const Open open(*this);
    while (!stream.queue.empty()) advance(stream);
  }
  // Does the first op of the stream, and before it the work that it waits for.
  void advance(CUstream_st& stream) {
    if (stream.queue.empty()) return;
    const Op op = std::move(stream.queue.front());
    stream.queue.pop_front();
    if (op.after) finish(*op.after);
    if (op.work) {
      const Open open(*this);
      op.work();
    }
    if (op.mark) {
      op.mark->done = true;
      op.mark->at = std::chrono::steady_clock::now();
    }
  }
  void run(const std::vector<Capture::Node>& nodes) {
    std::vector<size_t> missing(nodes.size()), ready;
    std::vector<std::vector<size_t>> next(nodes.size());
    for (size_t i = 0; i < nodes.size(); ++i) {
      missing[i] = nodes[i].after.size();
      for (const size_t before : nodes[i].after) next[before].push_back(i);
      if (missing[i] == 0) ready.push_back(i);
    }
    while (!ready.empty()) {
      // Lazily, one branch is completed before another begins; eagerly, nodes run in the order of the capture.
      const size_t at = lazy_ ? ready.size() - 1 : eager_ ? 0 : random_.below(ready.size());
      const size_t n = ready[at];
      ready.erase(ready.begin() + static_cast<ptrdiff_t>(at));
      nodes[n].work();
      for (const size_t after : next[n]) {
        if (--missing[after] == 0) ready.push_back(after);
      }
    }
  }

  // In the thread-local capture mode, the thread that captures may not make calls that wait for the device.
  void refuse_in_capture(const char* what) {
    for (const auto& c : captures_) {
      if (c->thread == std::this_thread::get_id()) fail("simulated GPU: {} while a graph is being captured", what);
    }
  }
  void break_captures(const char* what) {
    for (const auto& c : captures_) {
      if (c->thread == std::this_thread::get_id()) c->broken = what;
    }
  }
  void close(Capture& c) {
    c.over = true;
    for (CUstream_st* s : c.streams) {
      s->capture.reset();
      s->heads.clear();
    }
    std::erase_if(captures_, [&](const auto& other) { return other.get() == &c; });
  }

  std::byte* heap_ = nullptr;
  std::map<size_t, size_t> free_, used_;  // offset -> bytes
  size_t graphs_ = 0;                     // instantiated and not destroyed
  std::map<const std::byte*, size_t> pinned_;
  std::set<CUstream_st*> streams_;
  std::vector<std::shared_ptr<Capture>> captures_;
  int open_ = 0;
  bool lazy_ = true, eager_ = false;
  Philox random_{0, 0, 0};
};

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
  locked([&](Simulator& s) { s.remove(stream); });
  delete stream;
}
Event create_event(bool) { return new CUevent_st; }
void destroy_event(Event event) noexcept { delete event; }
void record(Event event, Stream stream) {
  locked([&](Simulator& s) { s.record(event, stream); });
}
void wait(Stream stream, Event event) {
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
  locked([&](Simulator& s) { s.copy(to, from, bytes, kind, stream); });
}
void zero(void* to, size_t bytes, Stream stream) {
  locked([&](Simulator& s) { s.enqueue(stream, [to, bytes] { std::memset(to, 0, bytes); }); });
}
void begin_capture(Stream stream) {
  locked([&](Simulator& s) { s.begin_capture(stream); });
}
Graph end_capture(Stream stream) {
  return locked([&](Simulator& s) { return s.end_capture(stream); });
}
void abort_capture(Stream stream) noexcept {
  locked([&](Simulator& s) { s.abort_capture(stream); });
}
void launch(Graph graph, Stream stream) {
  locked([&](Simulator& s) { s.launch(graph, stream); });
}
void destroy_graph(Graph graph) noexcept {
  locked([&](Simulator& s) { s.destroy_graph(graph); });
}
void check_launch(const char*) {}

}  // namespace cuda
}  // namespace hr
