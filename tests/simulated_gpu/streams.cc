#include "tests/simulated_gpu/streams.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace hr {
namespace {

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

}  // namespace

Simulator::Simulator() {
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

void Simulator::set_order(const std::string& order) {
  lazy_ = order == "lazy";
  eager_ = order == "eager";
  random_ = Philox(lazy_ || eager_ ? 0 : std::stoull(order), 0, 0);
}

bool Simulator::protects() {
  static const bool huge = [] {
    std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
    std::string text;
    return std::getline(file, text) && text.find("[never]") == std::string::npos;
  }();
  return huge;
}

void* Simulator::allocate(size_t bytes) {
  refuse_in_capture("allocating memory");
  bytes = std::max<size_t>((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  const auto it = std::find_if(free_.begin(), free_.end(), [&](const auto& f) { return f.second >= bytes; });
  if (it == free_.end() || bytes > free_bytes())
    throw OutOfMemory(fmt::format("out of GPU memory: {} MiB asked for, {} MiB free", bytes >> 20, free_bytes() >> 20),
                      bytes);
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

void Simulator::deallocate(void* pointer) {
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

size_t Simulator::free_bytes() const {
  size_t sum = 0;
  for (const auto& [offset, size] : free_) sum += size;
  return sum - std::min(sum, graphs_ * kGraphBytes);
}

void* Simulator::allocate_pinned(size_t bytes) {
  refuse_in_capture("allocating pinned memory");
  auto* p = static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
  pinned_[p] = bytes;
  return p;
}

void Simulator::deallocate_pinned(void* pointer) {
  if (pointer == nullptr) return;
  finish_all();
  pinned_.erase(static_cast<const std::byte*>(pointer));
  std::free(pointer);
}

void Simulator::remove(CUstream_st* stream) {
  if (stream->capture) stream->capture->broken = "a stream that was destroyed";
  while (!stream->queue.empty()) advance(*stream);
  streams_.erase(stream);
}

void Simulator::enqueue(CUstream_st* stream, std::function<void()> work) {
  if (stream == nullptr) fail("simulated GPU: work on no stream");
  if (stream->capture) {
    Capture& c = *stream->capture;
    c.nodes.push_back({.work = std::move(work), .after = stream->heads});
    stream->heads = {c.nodes.size() - 1};
    return;
  }
  push(*stream, {.work = std::move(work)});
}

void Simulator::enqueue_dependent(CUstream_st* stream, simulator::DependentKernel kernel) {
  if (stream->capture) {
    // CUDA knows such an edge between two kernels only, so the program must not ask for it after a join.
    if (stream->heads.size() != 1) fail("simulated GPU: a dependent launch behind {} nodes", stream->heads.size());
    Capture& c = *stream->capture;
    c.nodes.push_back({.after = stream->heads, .dependent = std::move(kernel)});
    stream->heads = {c.nodes.size() - 1};
    return;
  }
  push(*stream, {.dependent = std::move(kernel)});
}

void Simulator::record(CUevent_st* event, CUstream_st* stream) {
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

void Simulator::wait(CUstream_st* stream, CUevent_st* event) {
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

float Simulator::elapsed_ms(const CUevent_st* begin, const CUevent_st* end) const {
  for (const CUevent_st* event : {begin, end}) {
    if (!event->marker) fail("simulated GPU: the time of an event that was never recorded");
    if (!event->marker->done) fail("simulated GPU: the time of an event that nobody has waited for");
  }
  return std::chrono::duration<float, std::milli>(end->marker->at - begin->marker->at).count();
}

void Simulator::synchronize(CUevent_st* event) {
  if (event->capture) fail("simulated GPU: waiting for an event that is being captured");
  refuse_in_capture("waiting");
  if (event->marker) finish(*event->marker);
}

void Simulator::synchronize(CUstream_st* stream) {
  if (stream->capture) fail("simulated GPU: waiting for a stream that is being captured");
  refuse_in_capture("waiting");
  finish(*stream);
}

bool Simulator::done(CUevent_st* event) {
  if (event->capture) fail("simulated GPU: asking for an event that is being captured");
  stir();  // lets work proceed for a caller that polls
  if (lazy_ && event->marker) advance(*event->marker->stream);
  return !event->marker || event->marker->done;
}

void Simulator::copy(void* to, const void* from, size_t bytes, cuda::Copy kind, CUstream_st* stream) {
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

void Simulator::begin_capture(CUstream_st* stream) {
  if (stream->capture) fail("simulated GPU: the stream is being captured already");
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  stream->capture->thread = std::this_thread::get_id();
  stream->capture->streams = {stream};
  stream->heads.clear();
  captures_.push_back(stream->capture);
}

CUgraphExec_st* Simulator::end_capture(CUstream_st* stream) {
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
  if (left > 0) fail("simulated GPU: {} of {} captured nodes are on streams that were not joined", left, joined.size());
  if (free_bytes() < kGraphBytes) throw OutOfMemory("out of GPU memory: graph instantiation", kGraphBytes);
  ++graphs_;
  return new CUgraphExec_st{std::move(c->nodes)};
}

void Simulator::destroy_graph(CUgraphExec_st* graph) {
  if (graph == nullptr) return;
  --graphs_;
  delete graph;
}

void Simulator::abort_capture(CUstream_st* stream) {
  if (stream->capture) close(*stream->capture);
}

void Simulator::launch(const CUgraphExec_st* graph, CUstream_st* stream) {
  enqueue(stream, [this, nodes = graph->nodes] { run(nodes); });
}

void Simulator::finish_all() {
  for (CUstream_st* s : std::set(streams_)) finish(*s);
}

void Simulator::give_up(const char* why) {
  std::fprintf(stderr, "simulated GPU: %s\n", why);
  std::abort();
}

void Simulator::expect_device(const void* p, size_t bytes) const {
  const auto* b = static_cast<const std::byte*>(p);
  if (bytes > 0 && (b < heap_ || b + bytes > heap_ + kTotal))
    fail("simulated GPU: a copy takes host memory for its own");
}

bool Simulator::is_pinned(const void* p, size_t bytes) const {
  const auto* b = static_cast<const std::byte*>(p);
  const auto it = pinned_.upper_bound(b);
  if (it == pinned_.begin()) return false;
  const auto& [begin, size] = *std::prev(it);
  return b >= begin && b + bytes <= begin + size;
}

void Simulator::push(CUstream_st& stream, Op op) {
  stream.queue.push_back(std::move(op));
  if (eager_) return finish(stream);
  stir();
}

void Simulator::stir() {
  if (lazy_ || eager_) return;
  const Open open(*this);
  for (uint64_t n = random_.below(4); n > 0; --n) {
    auto it = streams_.begin();
    std::advance(it, static_cast<ptrdiff_t>(random_.below(streams_.size())));
    CUstream_st& s = **it;
    for (uint64_t k = random_.below(8); k > 0 && runnable(s); --k) advance(s);
  }
}

bool Simulator::runnable(const CUstream_st& s) {
  return !s.queue.empty() && (!s.queue.front().after || s.queue.front().after->done);
}

void Simulator::finish(const Marker& marker) {
  const Open open(*this);
  while (!marker.done) advance(*marker.stream);
}

void Simulator::finish(CUstream_st& stream) {
  if (stream.queue.empty()) return;
  const Open open(*this);
  while (!stream.queue.empty()) advance(stream);
}

void Simulator::advance(CUstream_st& stream) {
  if (stream.queue.empty()) return;
  const Op op = std::move(stream.queue.front());
  stream.queue.pop_front();
  if (op.after) finish(*op.after);
  if (op.work || op.dependent) {
    const Open open(*this);
    bool ran = false;
    const auto run = [&] {
      if (std::exchange(ran, true)) return;
      // All that op.dependent waits for has run, because it is the first op of the stream.
      op.work ? op.work() : op.dependent([] {});
    };
    if (!stream.queue.empty() && stream.queue.front().dependent && begins_early()) {
      const Op next = std::move(stream.queue.front());
      stream.queue.pop_front();
      next.dependent(run);
    }
    run();
  }
  if (op.mark) {
    op.mark->done = true;
    op.mark->at = std::chrono::steady_clock::now();
  }
}

void Simulator::run(const std::vector<Capture::Node>& nodes) {
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
    const auto early =
        std::find_if(next[n].begin(), next[n].end(), [&](size_t i) { return static_cast<bool>(nodes[i].dependent); });
    bool ran = false;
    const auto run_node = [&] {
      if (std::exchange(ran, true)) return;
      nodes[n].work ? nodes[n].work() : nodes[n].dependent([] {});
    };
    std::vector<size_t> done{n};
    if (early != next[n].end() && begins_early()) {
      nodes[*early].dependent(run_node);
      done.push_back(*early);
    }
    run_node();
    for (const size_t d : done) {
      for (const size_t after : next[d]) {
        if (--missing[after] == 0 && std::find(done.begin(), done.end(), after) == done.end()) ready.push_back(after);
      }
    }
  }
}

void Simulator::refuse_in_capture(const char* what) {
  for (const auto& c : captures_) {
    if (c->thread == std::this_thread::get_id()) fail("simulated GPU: {} while a graph is being captured", what);
  }
}

void Simulator::break_captures(const char* what) {
  for (const auto& c : captures_) {
    if (c->thread == std::this_thread::get_id()) c->broken = what;
  }
}

void Simulator::close(Capture& c) {
  c.over = true;
  for (CUstream_st* s : c.streams) {
    s->capture.reset();
    s->heads.clear();
  }
  std::erase_if(captures_, [&](const auto& other) { return other.get() == &c; });
}

}  // namespace hr
