// Threads that hand exceptions to their caller. An exception that leaves the function of a std::thread ends the process
// without a message. Here the first exception, of any type, is kept and thrown again where it can be handled.
//   for_each_on_threads(pictures.size(), threads, [&] {
//     return [&, decoder = std::make_unique<ImageDecoder>()](size_t i) { ... };  // every thread has its own decoder
//   });
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "core/parallel.h"

namespace hr {

// Keeps the first exception of several threads. keep() is thread-safe.
class FirstException {
 public:
  // Keeps the exception that is being handled; call it in a catch block.
  void keep() noexcept {
    const std::lock_guard lock(mutex_);
    if (!first_) first_ = std::current_exception();
    any_ = true;
  }
  bool any() const noexcept { return any_; }
  // Throws the exception that was kept, if there is one. All threads must have ended.
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr first_;
  std::atomic<bool> any_{false};
};

// Returns `asked`, or the number of processors when `asked` is 0 or less.
inline int threads_or_all(int asked) {
  return asked > 0 ? asked : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

// Calls body() once on each of `n` threads, including the calling thread, and returns when all have ended. Then the
// first exception is thrown again. If the system refuses a thread, the others do the work. Only the calling thread
// keeps its pin, if it has one (core/parallel.h).
template <class Body>
void run_on_threads(int n, const Body& body) {
  FirstException error;
  const auto guarded = [&] {
    try {
      body();
    } catch (...) {
      error.keep();
    }
  };
  {
    std::vector<std::jthread> team;
    try {
      for (int t = 1; t < n; ++t) {
        team.emplace_back([&guarded] {
          unpin_this_thread();
          guarded();
        });
      }
    } catch (const std::system_error&) {  // The system allows no more threads; those that exist do the work.
      // There is no memory for another thread. If the body lacks memory too, it throws its own exception.
    } catch (const std::bad_alloc&) {
    }
    guarded();
  }
  error.rethrow();
}

// Calls worker(i) exactly once for every i below `count`, on up to `threads` threads (0: one per processor). Each
// thread makes its own worker with make_worker(). After an exception no further item is begun, and the first exception
// is thrown again when all threads have ended.
template <class MakeWorker>
void for_each_on_threads(size_t count, int threads, const MakeWorker& make_worker) {
  std::atomic<size_t> next{0};
  const size_t useful = std::max<size_t>(1, std::min(count, static_cast<size_t>(threads_or_all(threads))));
  run_on_threads(static_cast<int>(useful), [&] {
    try {
      auto worker = make_worker();
      for (size_t i = next++; i < count; i = next++) worker(i);
    } catch (...) {
      next = count;
      throw;
    }
  });
}

// Threads that live longer than the call that starts them, for example those of a loader. When body() ends with an
// exception, failed(exception) is called on the same thread; it must not throw.
class ThreadTeam {
 public:
  ThreadTeam() = default;
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;
  ~ThreadTeam() { join(); }

  template <class Body, class Failed>
  void start(int n, const Body& body, const Failed& failed) {
    threads_.reserve(threads_.size() + static_cast<size_t>(std::max(n, 0)));
    for (int t = 0; t < n; ++t) {
      threads_.emplace_back([body, failed] {
        try {
          body();
        } catch (...) {
          failed(std::current_exception());
        }
      });
    }
  }
  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::vector<std::thread> threads_;
};

// Calls f() on a thread of its own and waits for it, for settings that threads inherit from their creator. An exception
// is thrown again here.
template <class F>
void call_on_new_thread(const F& f) {
  FirstException error;
  std::thread([&] {
    try {
      f();
    } catch (...) {
      error.keep();
    }
  }).join();
  error.rethrow();
}

}  // namespace hr
