#include "hrnet/train/step_batch.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace hr {
namespace {

// Rounds up to 256 bytes, so that every array is aligned.
size_t padded(size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

int64_t StepBatch::samples() const {
  for (const HostArray& a : arrays) {
    if (a.per_sample && !a.shape.empty()) return a.shape[0];
  }
  return 0;
}

std::string StepBatch::key() const {
  std::string key;
  for (const HostArray& a : arrays) key += fmt::format("{}:{}{};", a.name, name_of(a.dtype), to_string(a.shape));
  for (const int64_t constant : constants) key += fmt::format("{};", constant);
  return key;
}

bool Inputs::contains(std::string_view name) const {
  return std::find(names_.begin(), names_.end(), name) != names_.end();
}

const Tensor& Inputs::operator[](size_t i) const {
  check(i < tensors_.size(), "training step: the loss function asked for input {}, but the batch has {}", i,
        tensors_.size());
  return tensors_[i];
}

const Tensor& Inputs::operator[](std::string_view name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  check(found != names_.end(), "training step: the batch has no input \"{}\"; it has {}", name,
        fmt::join(names_, ", "));
  return tensors_[static_cast<size_t>(found - names_.begin())];
}

int64_t Inputs::constant(size_t i) const {
  check(i < constants_.size(), "training step: the loss function asked for constant {}, but the batch has {}", i,
        constants_.size());
  return constants_[i];
}

BatchLayout lay_out(const StepBatch& batch, const Preparation* preparation, size_t control_bytes) {
  BatchLayout l;
  size_t end = 0;
  const auto place = [&](size_t bytes) { return std::exchange(end, end + padded(bytes)); };
  const auto only_read = [&](const HostArray& a) {
    return preparation != nullptr &&
           std::find(preparation->reads.begin(), preparation->reads.end(), a.name) != preparation->reads.end();
  };
  for (const HostArray& a : batch.arrays) {
    l.uploads.push_back({a.name, a.shape, a.dtype, 0});
    if (only_read(a)) continue;
    l.uploads.back().begin = place(a.expected_bytes());
    l.inputs.push_back(l.uploads.back());
  }
  l.made = l.inputs.size();
  if (preparation != nullptr) {
    const size_t read = l.uploads.size() - l.inputs.size();
    check(read == preparation->reads.size(), "training step: the preparation reads {}; the batch has {} of them",
          fmt::join(preparation->reads, ", "), read);
    for (const Preparation::Array& a : preparation->makes) {
      l.inputs.push_back({a.name, a.shape, a.dtype, place(static_cast<size_t>(numel(a.shape)) * size_of(a.dtype))});
    }
  }
  l.control = place(control_bytes);
  l.input_bytes = end;
  for (size_t i = 0; i < batch.arrays.size(); ++i) {
    if (only_read(batch.arrays[i])) l.uploads[i].begin = place(batch.arrays[i].expected_bytes());
  }
  l.all = end;
  return l;
}

}  // namespace hr
