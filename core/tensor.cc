#include "core/tensor.h"

#include <atomic>

#include "core/error.h"

namespace hr {
namespace {
uint64_t next_id() {
  static std::atomic<uint64_t> serial{0};
  return ++serial;
}
}  // namespace

int64_t numel(const Shape& shape) {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Tensor::Tensor(std::shared_ptr<Storage> storage, Shape shape, DType dtype, Device device, size_t byte_offset)
    : storage_(std::move(storage)),
      shape_(std::move(shape)),
      dtype_(dtype),
      device_(device),
      offset_(byte_offset),
      id_(next_id()) {
  check(offset_ + bytes() <= storage_->bytes(), "tensor {} of {} needs {} bytes at offset {}, the storage has {}",
        to_string(shape_), name_of(dtype_), bytes(), offset_, storage_->bytes());
}

Tensor Tensor::view(Shape shape, int64_t first) const {
  return {storage_, std::move(shape), dtype_, device_, offset_ + static_cast<size_t>(first) * size_of(dtype_)};
}

}  // namespace hr
