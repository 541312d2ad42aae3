// The values of a pickle as data, of which a checkpoint consists. Nothing here can run: the call of a constructor that
// is not on the reader's list becomes an `object` with its name and arguments.
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

// The types of Python are represented as follows:
//   dict, OrderedDict, Counter, defaultdict, argparse.Namespace  Dict; an OrderedDict's attributes (torch's _metadata)
//                                                                are dropped
//   tuple, torch.Size                                            Tuple
//   tensor, nn.Parameter                                         ArrayView; one whose dtype DType lacks: Object
//   numpy scalar                                                 bool, int64_t or double
//   int beyond 64 bits                                           Object "int" with its digits, "0x4000…" or decimal
//   bytes                                                        Object "bytes" with the raw bytes in a string
//   set, frozenset                                               Object "builtins.set", its items as arguments
//   a class or function that is not called                       Object with its name
// A value that contains itself has an Object "(cycle)" where it would start again, so that a Value is a tree with
// shared branches. A Value read from a file is at most kMaxDepth deep and has at most kMaxNodes values, where a shared
// one counts as often as it is reached. It is therefore safe to walk and free it recursively.
struct Value {
  static constexpr int kMaxDepth = 500;
  static constexpr int64_t kMaxNodes = 1 << 22;

  struct None {};
  struct Object {      // The result of an unknown constructor, which does nothing.
    std::string name;  // For example "torch.optim.adam.Adam".
    // The arguments, then the items that were appended, and (key, value) tuples of the items that were set.
    std::vector<ValuePtr> arguments;
    ValuePtr state;  // The state that BUILD would have set; may be null.
  };
  struct Tuple {
    std::vector<ValuePtr> items;
  };
  struct List {
    std::vector<ValuePtr> items;
  };
  struct Dict {
    std::vector<std::pair<ValuePtr, ValuePtr>> items;  // In order. Of two equal keys the last one is valid.
  };
  std::variant<None, bool, int64_t, double, std::string, Tuple, List, Dict, ArrayView, Object> data;

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
  // Returns the entry of a dict whose key is this string; null if there is none or this is not a dict.
  const Value* find(std::string_view key) const;
};

// Describes a value in a message: "a dict", "a tensor", "None", "the result of os.system(...)".
std::string describe(const Value& value);

}  // namespace hr
