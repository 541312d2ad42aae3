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

// How Python's types arrive here:
//   dict, OrderedDict, Counter, defaultdict, argparse.Namespace  Dict; an OrderedDict's attributes (torch's _metadata)
//                                                                are dropped
//   tuple, torch.Size                                            Tuple
//   tensor, nn.Parameter                                         ArrayView; one whose dtype DType lacks: Object
//   numpy scalar                                                 bool, int64_t or double
//   int beyond 64 bits                                           Object "int" with its digits, "0x4000…" or decimal
//   bytes                                                        Object "bytes" with the raw bytes in a string
//   set, frozenset                                               Object "builtins.set", its items as arguments
//   a class or function that is not called                       Object with its name
// A value that contains itself has an Object "(cycle)" where it would start again, so a Value is a tree with shared
// branches. Read from a file it is at most kMaxDepth deep and has at most kMaxNodes values, each shared one counted as
// often as it is reached: walking (and freeing) it recursively is safe.
struct Value {
  static constexpr int kMaxDepth = 500;
  static constexpr int64_t kMaxNodes = 1 << 22;

  struct None {};
  struct Object {                     // an unknown constructor's result, inert
    std::string name;                 // "torch.optim.adam.Adam"
    std::vector<ValuePtr> arguments;  // then what was appended to it, and (key, value) tuples of what was set in it
    ValuePtr state;                   // what BUILD would have set; may be null
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

// For messages: "a dict", "a tensor", "None", "the result of os.system(...)".
std::string describe(const Value& value);

struct NamedView {
  std::string name;
  const ArrayView* array;
};
// The entries of a dict that has to map names to tensors (a state dict), in order; of two equal names the last value
// stands at the first place, as in Python. Error: which entry is something else, and what; `where` names the dict.
std::vector<NamedView> named_tensors(const Value& dict, std::string_view where);

}  // namespace hr
