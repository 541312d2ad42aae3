// The state of the simulated device: its memory, its streams with the work that waits in them, and its graphs.
#pragma once
#include <sys/mman.h>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/philox.h"
#include "tests/simulated_gpu/simulator.h"

// The record of an event in its stream.
struct Marker {
  bool done = false;
  CUstream_st* stream = nullptr;
  std::chrono::steady_clock::time_point at;
};

struct Op {
  std::function<void()> work;                // may be empty
  hr::simulator::DependentKernel dependent;  // in place of work: may begin before the op in front of it has run
  std::shared_ptr<Marker> after, mark;       // waits for one, signals the other
};

// Work between begin_capture and end_capture.
struct Capture {
  CUstream_st* origin = nullptr;
  std::thread::id thread;
  struct Node {
    std::function<void()> work;
    std::set<size_t> after;
    hr::simulator::DependentKernel dependent;  // in place of work: may begin before the one node in `after` has run
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

constexpr size_t kTotal = size_t{2} << 30, kAlignment = 256, kPoisoned = size_t{256} << 20;
// The memory that the driver needs for an instantiated graph; on a real GPU it varies.
constexpr size_t kGraphBytes = size_t{64} << 20;

// Not thread-safe by itself: lock `mutex` around every call.
class Simulator {
 public:
  Simulator();

  void set_order(const std::string& order);

  // Tells whether the host is kept from accessing device memory. This needs huge pages: without them every test would
  // take minutes.
  static bool protects();

  // ---- memory ----

  void* allocate(size_t bytes);
  // Waits for everything, as cudaFree does.
  void deallocate(void* pointer);
  size_t free_bytes() const;
  void* allocate_pinned(size_t bytes);
  void deallocate_pinned(void* pointer);

  // ---- streams ----

  void add(CUstream_st* stream) { streams_.insert(stream); }
  void remove(CUstream_st* stream);

  void enqueue(CUstream_st* stream, std::function<void()> work);
  void enqueue_dependent(CUstream_st* stream, simulator::DependentKernel kernel);

  void record(CUevent_st* event, CUstream_st* stream);

  void wait(CUstream_st* stream, CUevent_st* event);

  float elapsed_ms(const CUevent_st* begin, const CUevent_st* end) const;

  void synchronize(CUevent_st* event);
  void synchronize(CUstream_st* stream);
  bool done(CUevent_st* event);

  void copy(void* to, const void* from, size_t bytes, cuda::Copy kind, CUstream_st* stream);

  // ---- graphs ----

  void begin_capture(CUstream_st* stream);
  CUgraphExec_st* end_capture(CUstream_st* stream);
  void destroy_graph(CUgraphExec_st* graph);
  void abort_capture(CUstream_st* stream);
  void launch(const CUgraphExec_st* graph, CUstream_st* stream);

  void finish_all();

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

  [[noreturn]] static void give_up(const char* why);

  void expect_device(const void* p, size_t bytes) const;
  bool is_pinned(const void* p, size_t bytes) const;

  void push(CUstream_st& stream, Op op);
  // Does some of the work, in an arbitrary order.
  void stir();
  static bool runnable(const CUstream_st& s);
  void finish(const Marker& marker);
  void finish(CUstream_st& stream);
  // Tells whether a dependent kernel begins before the one in front of it: always, never, or by chance.
  bool begins_early() { return lazy_ || (!eager_ && random_.below(2) == 0); }
  // Does the first op of the stream, and before it the work that it waits for.
  void advance(CUstream_st& stream);
  void run(const std::vector<Capture::Node>& nodes);

  // In the thread-local capture mode, the thread that captures may not make calls that wait for the device.
  void refuse_in_capture(const char* what);
  void break_captures(const char* what);
  void close(Capture& c);

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

}  // namespace hr
