// What a pickle holds, as data: the values a checkpoint is made of. Nothing here can run; a constructor that is not on
// the reader's list stays as an `object` with its name and arguments.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/io/array.h"

namespace hr {

struct Value;
using ValuePtr = std::shared_ptr<const Value>;

struct Value {
  struct None {};
  struct Object {      // an unknown constructor's result, inert
    std::string name;  // "torch.optim.adam.Adam"
    std::vector<ValuePtr> arguments;
    ValuePtr state;  // what BUILD would have set; may be null
  };
  struct Tuple {
    std::vector<ValuePtr> items;
  };
  struct List {
    std::vector<ValuePtr> items;
  };
  struct Dict {
    std::vector<std::pair<ValuePtr, ValuePtr>> items;  // in order; the last of two equal keys counts
  };
  std::variant<None, bool, int64_t, double, std::string, Tuple, List, Dict, ArrayView, Object> data;

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
  // The entry of a dict whose key is this string; null if there is none or this is no dict.
  const Value* find(std::string_view key) const;
};

}  // namespace hr
