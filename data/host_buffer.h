// A buffer for the data of batches. Its memory comes from an Allocator, for example one for pinned memory. It is not
// cleared, because a batch of 128 has 100 MB that the loader overwrites completely.
#pragma once
#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "core/allocator.h"

namespace hr {

template <class T>
class HostBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  // Without an allocator the memory comes from the heap, aligned to 64 bytes.
  explicit HostBuffer(std::shared_ptr<Allocator> allocator = nullptr) : allocator_(std::move(allocator)) {}
  ~HostBuffer() { release(); }
  HostBuffer(const HostBuffer& other) : allocator_(other.allocator_) {
    resize(other.size_);
    std::copy(other.begin(), other.end(), data_);
  }
  HostBuffer(HostBuffer&& other) noexcept { swap(other); }
  HostBuffer& operator=(HostBuffer other) noexcept {
    swap(other);
    return *this;
  }

  // The contents are unspecified afterwards. Memory is allocated only if the size is larger than ever before.
  void resize(size_t size) {
    if (size > capacity_) {
      release();
      const size_t bytes = size * sizeof(T);
      data_ = static_cast<T*>(allocator_ ? allocator_->allocate(bytes) : ::operator new(bytes, alignment));
      capacity_ = size;
    }
    size_ = size;
  }

  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  // Returns the i-th part of n elements.
  std::span<T> part(size_t i, size_t n) { return std::span<T>(data_, size_).subspan(i * n, n); }
  friend bool operator==(const HostBuffer& a, const HostBuffer& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  static constexpr std::align_val_t alignment{64};
  void release() noexcept {
    if (data_ == nullptr) return;
    if (allocator_) {
      allocator_->deallocate(data_, capacity_ * sizeof(T));
    } else {
      ::operator delete(data_, alignment);
    }
    data_ = nullptr;
    capacity_ = size_ = 0;
  }
  void swap(HostBuffer& other) noexcept {
    std::swap(allocator_, other.allocator_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  std::shared_ptr<Allocator> allocator_;
  T* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace hr
