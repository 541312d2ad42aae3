// What a pickle may do with values: fill containers, and call what is on a short list. Internal to core/io/pickle.
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

  // Of a list, a dict, or an object, where it is only noted. Error for anything else.
  void append(Id target, std::span<const Id> added);
  void set_items(Id target, std::span<const Id> pairs);  // key, value, key, value, …
  void build(Id target, Id state);                       // object.__setstate__(state)

  // The result of a constructor on the list, else an object that notes the call. Error: the callee can have no result,
  // or a tensor is not described as torch describes it.
  Id call(Id callee, const std::vector<Id>& arguments);
  Id note_call(Id callee, std::span<const Id> arguments);

  // What a persistent id stands for: ("storage", type, key, location, number of elements[, part of another storage]).
  // The location is where the tensor was ("cuda:0"), which does not matter here.
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
