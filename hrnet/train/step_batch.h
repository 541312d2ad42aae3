// The batch of a training step (hrnet/train/train_step.h): as the caller gives it, and as a loss function gets it.
#pragma once
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/context.h"

namespace hr {

// One array of a batch, in the caller's memory: dense, with the dims in memory order. The memory must stay valid until
// submit() returns; HostArray does not copy it.
struct HostArray {
  HostArray(std::span<const float> values, Shape dims, std::string_view as = "")
      : HostArray(std::as_bytes(values), std::move(dims), DType::f32, as) {}
  HostArray(std::span<const double> values, Shape dims, std::string_view as = "")
      : HostArray(std::as_bytes(values), std::move(dims), DType::f64, as) {}
  HostArray(std::span<const int32_t> values, Shape dims, std::string_view as = "")
      : HostArray(std::as_bytes(values), std::move(dims), DType::i32, as) {}
  HostArray(std::span<const uint8_t> values, Shape dims, std::string_view as = "")
      : HostArray(std::as_bytes(values), std::move(dims), DType::u8, as) {}
  HostArray(std::span<const std::byte> memory, Shape dims, DType element, std::string_view as = "")
      : bytes(memory), shape(std::move(dims)), dtype(element), name(as) {}

  // The size of an array of this shape and type.
  size_t expected_bytes() const { return static_cast<size_t>(numel(shape)) * size_of(dtype); }

  std::span<const std::byte> bytes;
  Shape shape;
  DType dtype;
  std::string name;        // Name under which a loss function asks for it; may be empty.
  bool per_sample = true;  // The first dim counts samples; false for a table that all samples share.
};

// The input of one step. Steps with equal names, types, shapes and constants share a plan and a graph.
struct StepBatch {
  StepBatch() = default;
  StepBatch(std::initializer_list<HostArray> list) : arrays(list) {}
  std::vector<HostArray> arrays;
  // Whole numbers that the loss function reads on the host, such as the size of an image that it makes on the device.
  // They are part of the plan, since a captured graph contains whatever was computed from them.
  std::vector<int64_t> constants;

  int64_t samples() const;  // The first dim of the first array that has one row per sample; 0 if there is none.
  // Returns a text that describes shapes, types and constants. Batches with equal texts can run the same plan.
  std::string key() const;
};

// A batch on the device, as a loss function receives it. Arrays are read by position or by name. It is valid only
// during the call.
class Inputs {
 public:
  Inputs(std::span<const Tensor> tensors, std::span<const std::string> names, std::span<const int64_t> constants)
      : tensors_(tensors), names_(names), constants_(constants) {}
  size_t size() const { return tensors_.size(); }
  bool contains(std::string_view name) const;
  const Tensor& operator[](size_t i) const;               // Throws Error if the batch has fewer arrays.
  const Tensor& operator[](std::string_view name) const;  // Throws Error that lists the names if there is none such.
  int64_t constant(size_t i) const;                       // Throws Error if the batch has fewer constants.

 private:
  std::span<const Tensor> tensors_;
  std::span<const std::string> names_;
  std::span<const int64_t> constants_;
};

// Arrays that the device makes of the uploaded ones before the step, for example pictures of their sources.
struct Preparation {
  struct Array {
    std::string name;
    Shape shape;
    DType dtype = DType::f32;
  };
  std::vector<std::string> reads;  // The arrays of the batch that the loss function does not get.
  std::vector<Array> makes;        // The arrays that it gets instead, behind all others.
  // Computes `made`, the tensors of `makes`, of the whole batch on cx.stream. There is no tape.
  std::function<void(Context& cx, const Inputs& in, std::span<const Tensor> made)> compute;
};
// Says how a batch is prepared; nothing if it is not.
using PreparationOf = std::function<std::optional<Preparation>(const StepBatch&)>;

// The places of the parts of a batch in the memory of the device, in bytes from its beginning. First come the inputs of
// the loss function, then a block of control numbers, and then what only the preparation reads.
struct BatchLayout {
  struct Part {
    std::string name;
    Shape shape;
    DType dtype;
    size_t begin;
  };
  std::vector<Part> inputs;         // Arrays of the batch, then those that are made.
  std::vector<Part> uploads;        // All arrays of the batch.
  size_t made = 0;                  // The position in `inputs` of the first array that is made.
  size_t control = 0;               // The place of the control numbers.
  size_t input_bytes = 0, all = 0;  // The sizes without and with what only the preparation reads.
};
// `preparation` may be null. Throws Error if it reads an array that the batch does not have.
BatchLayout lay_out(const StepBatch& batch, const Preparation* preparation, size_t control_bytes);

}  // namespace hr
