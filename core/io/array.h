// One array inside a weight file: a view onto the file's memory, valid as long as the file object lives.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/dtype.h"

namespace hr {

// The readers of this room only make views that lie inside the file and whose elements, written out, take no more
// memory than max(the storage, the file, 1 MiB): a stride of 0 cannot announce 2^60 elements.
struct ArrayView {
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // from the first element; dense: exactly numel * size_of(dtype)
  std::vector<int64_t> stride = {};  // elements, one per dim, never negative; empty: dense, row-major

  int64_t numel() const;  // the product of the dims; 1 for a 0-d array
  bool dense() const;     // elements lie in row-major order without gaps
  // Elements in row-major order, converted to float / double / int64; Error if the dtype is of the other kind (bool
  // counts as an integer, 0 or 1) or a view made by hand leaves its bytes.
  std::vector<float> to_f32() const;
  std::vector<double> to_f64() const;
  std::vector<int64_t> to_i64() const;
  // The stored bits in row-major order; out has to be numel * size_of(dtype) bytes long.
  void copy_to(std::span<std::byte> out) const;
};

}  // namespace hr
