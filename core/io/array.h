// One array inside a weight file: a view of the file's memory, valid as long as the file object exists.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/dtype.h"

namespace hr {

// The readers of this folder only make views that lie inside the file. Written out, the elements of such a view take no
// more memory than the largest of the storage, the file and 1 MiB, so that a stride of 0 cannot announce 2^60 elements.
struct ArrayView {
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  // Begins at the first element. If the view is dense, the length is exactly numel * size_of(dtype).
  std::span<const std::byte> bytes;
  std::vector<int64_t> stride = {};  // In elements, one per dimension, never negative. Empty means dense and row-major.

  int64_t numel() const;  // The product of the dimensions; 1 for a 0-d array.
  bool dense() const;     // True if the elements lie in row-major order without gaps.
  // Returns the elements in row-major order, converted to float, double or int64. Throws Error if the dtype is of the
  // other kind (bool counts as an integer, 0 or 1), or if a view that was made by hand reaches outside of its bytes.
  std::vector<float> to_f32() const;
  std::vector<double> to_f64() const;
  std::vector<int64_t> to_i64() const;
  // Copies the stored bits in row-major order. `out` must be numel * size_of(dtype) bytes long. Throws Error otherwise.
  void copy_to(std::span<std::byte> out) const;
};

}  // namespace hr
