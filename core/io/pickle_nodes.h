// The values on which a pickle's machine works, before they become a tree. Every value is a numbered node, so that
// values may contain each other in cycles and are all freed at once. Internal to core/io/pickle.
#pragma once
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "core/io/budget.h"
#include "core/io/pickle.h"
#include "core/io/text.h"

namespace hr::pickling {

using Id = uint32_t;

enum class Kind : uint8_t {
  none,
  boolean,
  integer,
  big,     // An int beyond 64 bits, as its little-endian two's complement.
  digits,  // An int beyond 64 bits, as decimal text.
  real,
  text,
  bytes,
  tuple,
  list,
  dict,
  global,
  object,
  storage,
  tensor,
};

constexpr const char* kKindNames[] = {"None",    "a bool",   "an int",    "an int",    "an int",
                                      "a float", "a string", "bytes",     "a tuple",   "a list",
                                      "a dict",  "a global", "an object", "a storage", "a tensor"};

enum class DictKind : uint8_t { literal, constructed, name_space };

struct Node {
  Kind kind = Kind::none;
  DictKind dict = DictKind::literal;
  uint32_t count = 0;  // The bytes of a text or the items of a tuple.
  union {
    int64_t integer = 0;
    double real;
    const char* text;
    uint64_t index;  // An index into the table that the kind selects.
  };
};

struct Global {
  std::string_view module, name;
  bool is(std::string_view m, std::string_view n) const { return module == m && name == n; }
};

constexpr Id kNobody = ~Id{0};

struct Object {
  Id global = kNobody;
  bool indirect = false;  // True for the result of calling what `global` returned.
  std::vector<Id> arguments;
  Id state = kNobody;
};

// A part of a storage. Only legacy files have parts; otherwise it is the whole storage.
struct StorageView {
  uint32_t storage = 0;
  uint64_t offset = 0, count = 0;  // In elements.
};

struct Tensor {
  uint32_t storage = 0;
  DType dtype = DType::f32;
  uint64_t offset = 0, extent = 0;  // In bytes: where the tensor starts and how far it reaches.
  std::vector<int64_t> shape, stride;
};

// The limit, in bytes, for repeated elements (stride 0) in the smallest file.
constexpr uint64_t kRepeated = 1 << 20;

// The nodes and the tables into which they point. Every addition is charged to the budget. A pickle can therefore
// neither use much memory nor, by naming a large value again and again, much time.
struct Nodes {
  Nodes(std::string where, uint64_t file_size, Budget& budget)
      : where_(std::move(where)), file_size_(file_size), budget_(budget) {}

  // Throws Error "where: byte N: …", where N is the position of the current instruction.
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: byte {}: {}", where_, place_, fmt::format(format, std::forward<Args>(args)...));
  }

  Id add(Node node) {
    budget_.take(sizeof(Node) + 4);
    nodes_.push_back(node);
    return static_cast<Id>(nodes_.size() - 1);
  }
  Id add(Kind kind, uint64_t index = 0) {
    Node node{.kind = kind};
    node.index = index;
    return add(node);
  }
  Id add_integer(int64_t v) {
    Node node{.kind = Kind::integer};
    node.integer = v;
    return add(node);
  }
  Id add_real(double v) {
    Node node{.kind = Kind::real};
    node.real = v;
    return add(node);
  }
  Id add_string(Kind kind, std::string_view text) {
    if (text.size() > UINT32_MAX) refuse("a string of {} bytes", text.size());
    Node node{.kind = kind, .count = static_cast<uint32_t>(text.size())};
    node.text = text.data();
    return add(node);
  }
  Id add_text(std::string_view text) {
    if (!valid_utf8(text)) refuse("text that is not UTF-8: {}", shown(text));
    return add_string(Kind::text, text);
  }
  // Strings of Python 2 have no encoding. They become text if they are valid UTF-8, else bytes.
  Id add_text_or_bytes(std::string_view text) { return add_string(valid_utf8(text) ? Kind::text : Kind::bytes, text); }
  // Keeps text that does not stand in the pickle in this form.
  std::string_view keep(std::string text) {
    budget_.take(text.size() + 2 * sizeof(std::string));
    return kept_.emplace_back(std::move(text));
  }
  Id add_tuple(std::span<const Id> items) {
    budget_.take(items.size() * 3 * sizeof(Id));  // The factor 3 covers the growth of the vector by doubling.
    Node node{.kind = Kind::tuple, .count = static_cast<uint32_t>(items.size())};
    node.index = pool_.size();
    pool_.insert(pool_.end(), items.begin(), items.end());
    return add(node);
  }
  Id add_list(Kind kind, std::span<const Id> items, DictKind dict = DictKind::literal) {
    budget_.take(sizeof(std::vector<Id>) + 16);
    lists_.emplace_back();
    Node node{.kind = kind, .dict = dict};
    node.index = lists_.size() - 1;
    const Id id = add(node);
    extend(id, items);
    return id;
  }
  Id add_object(Id global, std::span<const Id> arguments, bool indirect = false) {
    budget_.take(sizeof(Object) + 32 + arguments.size() * sizeof(Id));
    objects_.push_back({.global = global, .indirect = indirect, .arguments = {arguments.begin(), arguments.end()}});
    return add(Kind::object, objects_.size() - 1);
  }
  Id add_global(std::string_view module, std::string_view name) {
    // A long name that is used again and again would cost its length each time.
    if (module.size() + name.size() > 1000) refuse("a global's name of {} bytes", module.size() + name.size());
    if (!valid_utf8(module) || !valid_utf8(name)) refuse("a global's name is not UTF-8: {}", shown(module));
    budget_.take(sizeof(Global) * 3);
    globals_.push_back({module == "__builtin__" ? "builtins" : module, name});
    return add(Kind::global, globals_.size() - 1);
  }
  // Appends to a list, or, with keys and values in turn, to a dict.
  void extend(Id id, std::span<const Id> items) {
    budget_.take(items.size() * 3 * sizeof(Id));
    auto& list = lists_[nodes_[id].index];
    list.insert(list.end(), items.begin(), items.end());
  }

  const Node& node(Id id) const { return nodes_[id]; }
  bool is(Id id, Kind kind) const { return nodes_[id].kind == kind; }
  const char* name_of_kind(Id id) const { return kKindNames[static_cast<size_t>(nodes_[id].kind)]; }
  std::string_view text(Id id) const { return {nodes_[id].text, nodes_[id].count}; }
  const Global& global(Id id) const { return globals_[nodes_[id].index]; }
  std::string full_name(Id global_id) const {
    return fmt::format("{}.{}", global(global_id).module, global(global_id).name);
  }
  // The items of a tuple or list. Adding nodes may move them, so copy what is needed later.
  std::span<const Id> items(Id id) const {
    if (is(id, Kind::tuple)) return std::span(pool_).subspan(nodes_[id].index, nodes_[id].count);
    return lists_[nodes_[id].index];
  }
  std::vector<Id> copy_items(Id id) const {
    const auto view = items(id);
    return {view.begin(), view.end()};
  }

  static std::string brackets(const std::vector<int64_t>& list) { return fmt::format("[{}]", fmt::join(list, ", ")); }

  const std::string where_;
  const uint64_t file_size_;
  Budget& budget_;
  size_t place_ = 0;  // The position of the current instruction.

  std::deque<Node> nodes_;
  std::deque<std::string> kept_;
  std::vector<Id> pool_;  // The items of tuples.
  std::deque<std::vector<Id>> lists_;
  std::deque<Object> objects_;
  std::vector<Global> globals_;
  std::vector<PickledStorage> storages_;
  std::unordered_map<std::string, uint32_t> storage_number_;
  std::deque<StorageView> storage_views_;
  std::deque<Tensor> tensors_;
};

}  // namespace hr::pickling
