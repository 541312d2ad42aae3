// How much memory a file of unknown origin may make its reader spend on names and values (tensor data is not copied).
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

  // Takes bytes before they are allocated; Error when they are used up.
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
