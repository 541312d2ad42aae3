// The first argument of every op: device, memory, precision and tape. The library has no hidden global state.
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

// The base class of the data that ops keep between calls (compiled primitives, scratch memory, timers).
struct OpState {
  virtual ~OpState() = default;
};

class SideStreams;
class LoopRecorder;
class Comm;
class OpTrace;

// Not thread-safe: only one thread at a time may use a context, its tape and its OpState. A copy shares allocator,
// tape, ops and side streams with the original, so threads that run in parallel need separate contexts and not copies.
// On a GPU each context needs its own stream and allocator, because memory is reused in the order of one stream. Ops
// use OpenMP threads internally. Tensors share ownership of their memory and may outlive the context; the tape and the
// profile must outlive their use.
struct Context {
  Device device;
  std::shared_ptr<Allocator> allocator = std::make_shared<CachingAllocator>();
  DType precision = DType::f32;  // of activations: f32 or bf16; parameters, statistics, losses and moments stay f32
  Tape* tape = nullptr;          // records backward functions; if null, there are no gradients
  bool training = false;         // batch_norm uses batch statistics and updates the running ones; else it uses these
  std::shared_ptr<OpState> ops;  // made by the first op that needs it
  bool tf32 = false;             // CUDA: float32 convolutions may round their inputs to TF32
  bool exact = false;            // CPU: float32 convolutions are summed directly, never by Winograd's method
  Comm* sync_bn = nullptr;       // batch_norm in training mode: statistics over the batches of all these ranks

  // The CUDA stream on which the ops run. Null on the CPU.
  cuda::Stream stream = nullptr;
  std::shared_ptr<SideStreams> side_streams;  // for independent branches (core/branches.h); null: one after another

  // If it is set, ops of the forward pass on the CPU record their loops there and compute nothing (core/loop_graph.h).
  // The memory of all tensors must stay as it is until the loops have run.
  LoopRecorder* loops = nullptr;

  // Receives remarks for the user, for example that the choice of convolution kernels takes long. Called by the thread
  // that computes. If it is null, remarks are dropped.
  using Listener = std::function<void(const std::string& remark)>;
  std::shared_ptr<const Listener> listener;

  Profile* profile = nullptr;  // counts kernels and bytes while it is set (core/profile.h)
  OpTrace* trace = nullptr;    // is told what every op of a forward pass computes while it is set (ops/trace.h)

  Tensor empty(Shape shape, DType dtype) const;
  Tensor zeros(Shape shape, DType dtype) const;
  void zero(const Tensor& t) const;
  bool recording() const { return tape != nullptr; }
  // Tells whether layers may fold batch norm into filters and fuse the ops that follow a convolution. They may not if
  // a backward pass or a trace needs the separate ops.
  bool may_fold() const { return !training && !recording() && trace == nullptr; }

  // Copy between host memory and a tensor on this device. upload() returns when `from` may be reused, and download()
  // when `to` is complete. On CUDA both wait for the stream, so a captured step must not contain them.
  void upload(const Tensor& to, std::span<const std::byte> from) const;
  void download(const Tensor& from, std::span<std::byte> to) const;
};

// Downloads the numbers of a whole tensor. Throws Error if it is not f32.
std::vector<float> to_host(const Context& cx, const Tensor& t);

}  // namespace hr
