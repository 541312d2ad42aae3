// A limit for the memory that a reader spends on names and values of a file of unknown origin. Tensor data is not
// copied and does not count.
#pragma once
#include <cstddef>
#include <string>
#include <utility>

#include "core/error.h"

namespace hr {

class Budget {
 public:
  explicit Budget(std::string where, size_t bytes = size_t{40} << 20)
      : where_(std::move(where)), all_(bytes), left_(bytes) {}

  // Call before the bytes are allocated. Throws Error when the budget is used up.
  void take(size_t bytes) {
    if (bytes > left_) {
      fail("{}: its names and values would need more than {} MiB beside the tensors; is this a file of weights?",
           where_, all_ >> 20);
    }
    left_ -= bytes;
  }

 private:
  std::string where_;
  size_t all_, left_;
};

}  // namespace hr
