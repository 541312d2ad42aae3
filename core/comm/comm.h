// Collective operations between ranks. There is one interface and three engines: `local` (one process), `gloo` (CPU,
// TCP) and `nccl` (CUDA). A rank is one process with one device; ranks count from 0.
//
// Every collective must be called by all ranks in the same order with the same sizes. The order of a sum depends only
// on the number of ranks and the length, so that the bits are the same on every rank and in every run. Throws
// RankFailed when another rank is the cause (core/comm/control.h) and Error otherwise; no call waits forever.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace hr {

enum class Reduce : uint8_t { sum, mean };

// Where communication time was spent. `bench --mode comm` reads and resets it.
struct CommClock {
  double busy = 0;     // Seconds that the background all-reduces took.
  double exposed = 0;  // Seconds that finish() waited for them: the part that was not hidden behind other work.
  int64_t bytes = 0;   // Bytes that were reduced in the background.
};

class Comm {
 public:
  Comm(int rank, int size) : rank_(rank), size_(size) {}
  virtual ~Comm() = default;
  Comm(const Comm&) = delete;
  Comm& operator=(const Comm&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  virtual std::string_view engine() const = 0;  // One of "local", "gloo" and "nccl".

  // Tensors live on the engine's device (gloo: CPU, nccl: CUDA) and are dense. `stream` is, for nccl, the cudaStream_t
  // on which the call is ordered, whether it is being captured or not. The other engines ignore it and return when the
  // result is complete.

  // In place, f32 or f64.
  virtual void all_reduce(const Tensor& values, Reduce op, void* stream = nullptr) = 0;
  // Copies the root's values to all ranks.
  virtual void broadcast(const Tensor& values, int root, void* stream = nullptr) = 0;
  // Writes every rank's `mine` into `all` [size * mine.numel()], in the order of ranks; both have the same type.
  virtual void all_gather(const Tensor& mine, const Tensor& all, void* stream = nullptr) = 0;

  // Starts an all-reduce in the background. Started all-reduces run one after the other, in the order in which they
  // were started. Between start and finish() the caller must not touch `values`. finish() returns (or orders `stream`)
  // after all of them.
  virtual void start_all_reduce(const Tensor& values, Reduce op, void* stream = nullptr) = 0;
  virtual void finish(void* stream = nullptr) = 0;

  // For host memory. `all_gather` takes any number of bytes from each rank and returns them in the order of ranks.
  virtual void all_reduce(std::span<double> values, Reduce op) = 0;
  virtual std::vector<std::string> all_gather(std::string_view mine) = 0;
  // Returns when all ranks have called it. Ranks may arrive far apart in time (one may be writing a checkpoint); only
  // the loss of a rank ends the wait early.
  virtual void barrier() = 0;

  // Throws RankFailed if another rank has failed. For loops that do not communicate.
  virtual void check() = 0;
  // Wakes all calls that wait inside this engine; they throw. May be called from any thread.
  virtual void abort() noexcept = 0;

  CommClock clock;

 private:
  int rank_, size_;
};

}  // namespace hr
