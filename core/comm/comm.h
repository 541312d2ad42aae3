// What ranks say to each other. One interface, three engines: `local` (one process), `gloo` (CPU, TCP) and `nccl`
// (CUDA). A rank is one process with one device; ranks count from 0.
//
// Every collective must be called by all ranks in the same order with the same sizes. Sums run in an order that depends
// only on the number of ranks and the length: the same bits on every rank and in every run. Errors: RankFailed when
// another rank is the cause (core/comm/control.h), Error otherwise; nothing waits for ever.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace hr {

enum class Reduce : uint8_t { sum, mean };

// Where communication time went; `bench --mode comm` reads and resets it.
struct CommClock {
  double busy = 0;     // seconds that background all-reduces took
  double exposed = 0;  // seconds that finish() waited for them: what overlap did not hide
  int64_t bytes = 0;   // reduced in the background
};

class Comm {
 public:
  Comm(int rank, int size) : rank_(rank), size_(size) {}
  virtual ~Comm() = default;
  Comm(const Comm&) = delete;
  Comm& operator=(const Comm&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  virtual std::string_view engine() const = 0;  // "local", "gloo" or "nccl"

  // Tensors live on the engine's device (gloo: CPU, nccl: CUDA) and are dense. `stream`: for nccl, the cudaStream_t the
  // call is ordered on, capturing or not; the other engines ignore it and return when the result is there.

  // In place, f32 or f64.
  virtual void all_reduce(const Tensor& values, Reduce op, void* stream = nullptr) = 0;
  // values := root's.
  virtual void broadcast(const Tensor& values, int root, void* stream = nullptr) = 0;
  // all [size * mine.numel()] := every rank's `mine`, in the order of ranks; same type.
  virtual void all_gather(const Tensor& mine, const Tensor& all, void* stream = nullptr) = 0;

  // All-reduces that run beside the caller's work, one after the other in the order they were started. Between start
  // and finish() nobody else touches `values`. finish() returns (or orders `stream`) after all of them.
  virtual void start_all_reduce(const Tensor& values, Reduce op, void* stream = nullptr) = 0;
  virtual void finish(void* stream = nullptr) = 0;

  // Host memory. `all_gather` takes any number of bytes from each rank and gives them back in the order of ranks.
  virtual void all_reduce(std::span<double> values, Reduce op) = 0;
  virtual std::vector<std::string> all_gather(std::string_view mine) = 0;
  // Returns when all ranks are here. Ranks may be far apart in time (one writes a checkpoint): only a rank that is lost
  // ends the wait early.
  virtual void barrier() = 0;

  // Error if another rank has failed: for loops that do not communicate.
  virtual void check() = 0;
  // Wakes whatever waits inside this engine, with an error. From any thread.
  virtual void abort() noexcept = 0;

  CommClock clock;

 private:
  int rank_, size_;
};

}  // namespace hr
