#include "hrnet/train/step_batch.h"

#include <algorithm>

#include "core/error.h"

namespace hr {

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

}  // namespace hr
