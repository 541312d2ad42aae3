// The actions of a pickle on values: filling containers, and calling the constructors of a short list. Internal to
// core/io/pickle.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "core/io/pickle_nodes.h"

namespace hr::pickling {

class Calls : public Nodes {
 public:
  using Nodes::Nodes;

  // Appends to a list or a dict; for an object the items are only recorded. Throws Error for any other value.
  void append(Id target, std::span<const Id> added);
  void set_items(Id target, std::span<const Id> pairs);  // The pairs are key, value, key, value, and so on.
  void build(Id target, Id state);                       // Does what object.__setstate__(state) does in Python.

  // Returns the result of a constructor on the list, otherwise an object that records the call. Throws Error if the
  // value cannot be called, or if a tensor is not described as torch describes it.
  Id call(Id callee, const std::vector<Id>& arguments);
  Id note_call(Id callee, std::span<const Id> arguments);

  // Returns the storage of a persistent id ("storage", type, key, location, number of elements[, part of another
  // storage]). The location says where the tensor was ("cuda:0") and is ignored.
  Id storage_of(Id persistent);

 private:
  Id dict_of_pairs(Id pairs);
  Id latin1(std::string_view utf8);
  std::string_view numpy_type(Id id) const;
  Id numpy_scalar(Id type_id, Id bytes_id);
  Id tensor(Id callee, const std::vector<Id>& arguments, size_t fewest, size_t most);
  uint64_t count_of(Id id, const char* what) const;
  std::vector<int64_t> counts(Id id, const char* what) const;
};

}  // namespace hr::pickling
