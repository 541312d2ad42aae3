// The tensors of a state dict, as tests of the readers walk them.
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "core/io/text.h"
#include "core/io/value.h"

namespace hr::test {

struct NamedView {
  std::string name;
  const ArrayView* array;
};

// Returns the entries of a dict that maps names to tensors (a state dict), in order. Of two equal names the last value
// stands at the first place, as in Python. Throws Error that says which entry is not a tensor and what it is; `where`
// names the dict.
inline std::vector<NamedView> named_tensors(const Value& dict, std::string_view where) {
  const auto* entries = dict.as<Value::Dict>();
  if (entries == nullptr) fail("{}: expected a dict of tensors, found {}", where, describe(dict));
  std::vector<NamedView> tensors;
  std::unordered_map<std::string_view, size_t> place;
  for (const auto& [key, value] : entries->items) {
    const auto* name = key->as<std::string>();
    if (name == nullptr) fail("{}: expected a dict from names to tensors, but a key is {}", where, describe(*key));
    const auto* array = value->as<ArrayView>();
    if (array == nullptr) fail("{}: {}: expected a tensor, found {}", where, shown(*name), describe(*value));
    const auto [it, fresh] = place.emplace(*name, tensors.size());
    if (fresh) {
      tensors.push_back({*name, array});
    } else {
      tensors[it->second].array = array;
    }
  }
  return tensors;
}

}  // namespace hr::test
