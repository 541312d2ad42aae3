// What an op needs to know besides its arguments; first argument of every op. There is no hidden global state.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "core/allocator.h"
#include "core/cuda.h"
#include "core/device.h"
#include "core/profile.h"
#include "core/tape.h"
#include "core/tensor.h"

namespace hr {

// Whatever the ops of one backend keep between calls (compiled primitives, scratch memory, clocks). Defined in ops/.
struct OpState {
  virtual ~OpState() = default;
};

class SideStreams;
class Comm;
class OpTrace;

// Not thread-safe: a context, its tape and its OpState serve one thread at a time. A copy shares allocator, tape, ops
// and side streams with the original, so it is no second context; threads that work side by side make one each (on a
// GPU with a stream and an allocator of its own, since reuse of memory is ordered by the stream). Ops use OpenMP's
// threads inside. Tensors hold shares of their memory and may outlive the context; tape and profile are only referred
// to and must outlive their use.
struct Context {
  Device device;
  std::shared_ptr<Allocator> allocator = std::make_shared<CachingAllocator>();
  DType precision = DType::f32;  // of activations: f32 or bf16. Parameters, statistics, losses and moments stay f32.
  Tape* tape = nullptr;          // no tape, no gradient
  bool training = false;         // batch_norm: batch statistics (and updates the running ones) or running statistics
  std::shared_ptr<OpState> ops;  // made by the first op that needs it
  bool tf32 = false;             // CUDA: float32 convolutions may round their inputs to TF32
  bool exact = false;            // CPU: float32 convolutions are summed directly, never by Winograd's method
  Comm* sync_bn = nullptr;       // batch_norm in training mode: statistics over the batches of all these ranks

  // CUDA: where work is put, in order. Null on the CPU.
  cuda::Stream stream = nullptr;
  std::shared_ptr<SideStreams> side_streams;  // for independent branches (core/branches.h); null: one after another

  // Gets what a user may want to know and what stops nothing, such as how long the choice of convolution kernels takes.
  // Called by the thread that computes. Null: nobody listens.
  using Listener = std::function<void(const std::string& remark)>;
  std::shared_ptr<const Listener> listener;

  Profile* profile = nullptr;  // counts kernels and bytes while it is set (core/profile.h)
  OpTrace* trace = nullptr;    // is told what every op of a forward pass computes while it is set (ops/trace.h)

  Tensor empty(Shape shape, DType dtype) const;
  Tensor zeros(Shape shape, DType dtype) const;
  void zero(const Tensor& t) const;
  bool recording() const { return tape != nullptr; }
  // True if layers may fold batch norm into filters and fuse what follows a convolution: neither a backward pass nor a
  // trace needs the single ops.
  bool may_fold() const { return !training && !recording() && trace == nullptr; }

  // Between host memory and a tensor on this context's device. upload returns when `from` may be reused, download when
  // `to` is complete; both wait for the stream on CUDA, so neither belongs into a captured step.
  void upload(const Tensor& to, std::span<const std::byte> from) const;
  void download(const Tensor& from, std::span<std::byte> to) const;
};

// The whole tensor as host numbers (f32 only).
std::vector<float> to_host(const Context& cx, const Tensor& t);

}  // namespace hr
