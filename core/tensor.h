// A tensor is a handle: a shape, an element type and a share in a block of memory. Dimensions are listed in memory
// order and always dense, without strides: activations [N, H, W, C], filters [O, kh, kw, I].
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/device.h"
#include "core/dtype.h"

namespace hr {

using Shape = std::vector<int64_t>;
int64_t numel(const Shape& shape);
std::string to_string(const Shape& shape);  // For example "[8, 64, 48, 32]".

// One block of memory. It returns to its allocator when the last tensor that uses it is destroyed.
class Storage {
 public:
  Storage(std::shared_ptr<Allocator> allocator, size_t bytes)
      : allocator_(std::move(allocator)), data_(allocator_->allocate(bytes)), bytes_(bytes) {}
  ~Storage() { allocator_->deallocate(data_, bytes_); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Allocator> allocator_;
  void* data_;
  size_t bytes_;
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(std::shared_ptr<Storage> storage, Shape shape, DType dtype, Device device, size_t byte_offset = 0);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t dim(size_t i) const { return shape_.at(i); }
  int rank() const { return static_cast<int>(shape_.size()); }
  int64_t numel() const { return hr::numel(shape_); }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }

  void* raw() const { return static_cast<std::byte*>(storage_->data()) + offset_; }
  template <class T>
  T* data() const {
    return static_cast<T*>(raw());
  }

  // A part of this tensor's memory, starting `first` elements in. It shares the storage but is a value with an id of
  // its own.
  Tensor view(Shape shape, int64_t first = 0) const;

  // Returns the serial number of the value. It is the key of gradients; addresses cannot be, because they are reused.
  uint64_t id() const { return id_; }
  bool requires_grad() const { return requires_grad_; }
  void set_requires_grad(bool on) { requires_grad_ = on; }

  // True when no other tensor shares this memory, so that it may be overwritten.
  bool unique() const { return storage_.use_count() == 1; }
  void reset() { *this = Tensor(); }

 private:
  std::shared_ptr<Storage> storage_;
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_;
  size_t offset_ = 0;
  uint64_t id_ = 0;
  bool requires_grad_ = false;
};

}  // namespace hr
