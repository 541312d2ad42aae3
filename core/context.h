// What an op needs to know besides its arguments; first argument of every op. There is no hidden global state.
#pragma once
#include <memory>

#include "core/allocator.h"
#include "core/device.h"
#include "core/tape.h"
#include "core/tensor.h"

namespace hr {

// Whatever the ops of one backend keep between calls (compiled primitives, scratch memory, clocks). Defined in ops/.
struct OpState {
  virtual ~OpState() = default;
};

struct Context {
  Device device;
  std::shared_ptr<Allocator> allocator = std::make_shared<CachingAllocator>();
  DType precision = DType::f32;  // of activations: f32 or bf16. Parameters, statistics, losses and moments stay f32.
  Tape* tape = nullptr;          // no tape, no gradient
  bool training = false;         // batch_norm: batch statistics (and updates the running ones) or running statistics
  std::shared_ptr<OpState> ops;  // made by the first op that needs it

  Tensor empty(Shape shape, DType dtype) const;
  Tensor zeros(Shape shape, DType dtype) const;
  bool recording() const { return tape != nullptr; }
};

}  // namespace hr
