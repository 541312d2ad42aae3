#include "core/io/pickle.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <deque>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/io/text.h"

namespace hr {
namespace {

// While the machine runs, everything is a numbered node: values may contain each other in circles, and are all freed at
// once. Value trees are made of what the result reaches.
using Id = uint32_t;

enum class Kind : uint8_t {
  none,
  boolean,
  integer,
  big,     // an int beyond 64 bits: its little-endian two's complement
  digits,  // an int beyond 64 bits: decimal text
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
  uint32_t count = 0;  // bytes of text, items of a tuple
  union {
    int64_t integer = 0;
    double real;
    const char* text;
    uint64_t index;  // of the table that the kind says
  };
};

struct Global {
  std::string_view module, name;
  bool is(std::string_view m, std::string_view n) const { return module == m && name == n; }
};

constexpr Id kNobody = ~Id{0};

struct Object {
  Id global = kNobody;
  bool indirect = false;  // what calling the result of `global` gave
  std::vector<Id> arguments;
  Id state = kNobody;
};

// A part of a storage. Only legacy files have parts; else it is the whole.
struct StorageView {
  uint32_t storage = 0;
  uint64_t offset = 0, count = 0;  // elements
};

struct Tensor {
  uint32_t storage = 0;
  DType dtype = DType::f32;
  uint64_t offset = 0, extent = 0;  // bytes: where it starts, how far it reaches
  std::vector<int64_t> shape, stride;
};

struct StorageType {
  std::string_view name;
  std::optional<DType> dtype;
  uint64_t element_size;
};
constexpr StorageType kStorageTypes[] = {
    {"FloatStorage", DType::f32, 4},
    {"DoubleStorage", DType::f64, 8},
    {"HalfStorage", DType::f16, 2},
    {"BFloat16Storage", DType::bf16, 2},
    {"LongStorage", DType::i64, 8},
    {"IntStorage", DType::i32, 4},
    {"ShortStorage", DType::i16, 2},
    {"CharStorage", DType::i8, 1},
    {"ByteStorage", DType::u8, 1},
    {"BoolStorage", DType::boolean, 1},
    {"UntypedStorage", std::nullopt, 1},
    {"_UntypedStorage", std::nullopt, 1},
    {"ComplexFloatStorage", std::nullopt, 8},
    {"ComplexDoubleStorage", std::nullopt, 16},
    {"QInt8Storage", std::nullopt, 1},
    {"QUInt8Storage", std::nullopt, 1},
    {"QInt32Storage", std::nullopt, 4},
    {"QUInt4x2Storage", std::nullopt, 1},
    {"QUInt2x4Storage", std::nullopt, 1},
};

// torch.float32 and its aliases, as _rebuild_tensor_v3 names them.
constexpr struct {
  std::string_view name;
  DType dtype;
} kDTypes[] = {{"float32", DType::f32}, {"float", DType::f32}, {"float64", DType::f64},   {"double", DType::f64},
               {"float16", DType::f16}, {"half", DType::f16},  {"bfloat16", DType::bf16}, {"int64", DType::i64},
               {"long", DType::i64},    {"int32", DType::i32}, {"int", DType::i32},       {"int16", DType::i16},
               {"short", DType::i16},   {"int8", DType::i8},   {"uint8", DType::u8},      {"bool", DType::boolean}};

constexpr size_t kMaxRank = 64;          // torch's own limit
constexpr uint64_t kRepeated = 1 << 20;  // bytes that repeated elements may amount to in the smallest file
constexpr uint64_t kSharing = 16;        // how often, on average, tensors may show the same bytes

}  // namespace

class Pickle::Machine {
 public:
  Machine(std::span<const std::byte> bytes, std::string where, uint64_t file_size, Budget& budget)
      : begin_(reinterpret_cast<const char*>(bytes.data())),
        at_(begin_),
        end_(begin_ + bytes.size()),
        where_(std::move(where)),
        file_size_(file_size),
        budget_(budget) {}

  void run() {
    while (step()) {
    }
  }
  size_t size() const { return static_cast<size_t>(at_ - begin_); }
  const std::vector<PickledStorage>& storages() const { return storages_; }

  ValuePtr value(std::span<const std::span<const std::byte>> data) {
    budget_.take(nodes_.size() * sizeof(Done));
    done_.resize(nodes_.size());
    data_ = data;
    uint64_t stored = 0;
    for (const auto& bytes : data) stored += bytes.size();
    tensor_bytes_limit_ = kSharing * (std::max(stored, file_size_) + kRepeated);
    return convert(result_, 1).value;
  }

 private:
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: byte {}: {}", where_, op_ - begin_, fmt::format(format, std::forward<Args>(args)...));
  }

  // ---- the bytes ----

  std::string_view read(uint64_t n) {
    const auto left = static_cast<uint64_t>(end_ - at_);
    if (n > left) refuse("{} bytes announced, {} are left of the pickle", n, left);
    const char* from = at_;
    at_ += n;
    return {from, n};
  }
  uint64_t number(size_t n) {  // little-endian, n bytes
    uint64_t v = 0;
    std::memcpy(&v, read(n).data(), n);
    return v;
  }
  std::string_view line() {
    const void* newline = at_ == end_ ? nullptr : std::memchr(at_, '\n', static_cast<size_t>(end_ - at_));
    if (newline == nullptr) refuse("a line without an end");
    const std::string_view text = read(static_cast<uint64_t>(static_cast<const char*>(newline) - at_));
    ++at_;
    return text;
  }
  template <class T>
  T parsed(std::string_view text) {
    T v{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (error != std::errc{} || end != text.data() + text.size()) refuse("{} is not a number", shown(text));
    return v;
  }

  // ---- nodes, stack, memo ----

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
  // Strings of Python 2 carry no encoding: text if they can be, else bytes.
  Id add_text_or_bytes(std::string_view text) { return add_string(valid_utf8(text) ? Kind::text : Kind::bytes, text); }
  // Text that is not in the pickle as it is.
  std::string_view keep(std::string text) {
    budget_.take(text.size() + 2 * sizeof(std::string));
    return kept_.emplace_back(std::move(text));
  }
  Id add_tuple(std::span<const Id> items) {
    budget_.take(items.size() * 3 * sizeof(Id));  // 3: the vector grows by doubling
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
    if (!valid_utf8(module) || !valid_utf8(name)) refuse("a global's name is not UTF-8: {}", shown(module));
    budget_.take(sizeof(Global) * 3);
    globals_.push_back({module == "__builtin__" ? "builtins" : module, name});
    return add(Kind::global, globals_.size() - 1);
  }
  // Appends to a list; keys and values in turn to a dict.
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
  // Items of a tuple or list. Adding nodes may move them: copy what has to stay.
  std::span<const Id> items(Id id) const {
    if (is(id, Kind::tuple)) return std::span(pool_).subspan(nodes_[id].index, nodes_[id].count);
    return lists_[nodes_[id].index];
  }
  std::vector<Id> copy_items(Id id) const {
    const auto view = items(id);
    return {view.begin(), view.end()};
  }

  void push(Id id) {
    stack_.push_back(id);
    if (stack_.size() > highest_) {
      highest_ = stack_.size();
      budget_.take(3 * sizeof(Id));
    }
  }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Id top() const {
    if (stack_.size() <= floor()) refuse("the stack is empty");
    return stack_.back();
  }
  Id pop() {
    const Id id = top();
    stack_.pop_back();
    return id;
  }
  std::vector<Id> pop_to_mark() {
    if (marks_.empty()) refuse("there is no mark on the stack");
    const std::vector<Id> above(stack_.begin() + static_cast<ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return above;
  }
  void put(uint64_t slot) {
    budget_.take(memo_.count(slot) != 0 ? 0 : 48);
    memo_[slot] = top();
  }
  void get(uint64_t slot) {
    const auto it = memo_.find(slot);
    if (it == memo_.end()) refuse("slot {} of the memo is read and was never written", slot);
    push(it->second);
  }

  // ---- one instruction; false after STOP ----

  bool step() {
    op_ = at_;
    if (at_ == end_) refuse("the pickle ends without STOP");
    const auto op = static_cast<uint8_t>(*at_++);
    switch (op) {
      case 0x80: {  // PROTO
        const uint64_t version = number(1);
        if (version > 5) refuse("pickle protocol {}, expected 0 to 5", version);
        return true;
      }
      case 0x95: {  // FRAME
        const uint64_t n = number(8), left = static_cast<uint64_t>(end_ - at_);
        if (n > left) refuse("a frame of {} bytes, {} are left of the pickle", n, left);
        return true;
      }
      case '.':  // STOP
        result_ = pop();
        return false;

      case 'N':
        push(add(Kind::none));
        return true;
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        push(add(Kind::boolean, op == 0x88));
        return true;
      case 'I':
        push_int_line(line());
        return true;
      case 'J':  // BININT
        push(add_integer(static_cast<int32_t>(number(4))));
        return true;
      case 'K':  // BININT1
      case 'M':  // BININT2
        push(add_integer(static_cast<int64_t>(number(op == 'K' ? 1 : 2))));
        return true;
      case 'L': {
        std::string_view digits = line();
        if (!digits.empty() && digits.back() == 'L') digits.remove_suffix(1);
        push_digits(digits);
        return true;
      }
      case 0x8a:  // LONG1
        push_long(read(number(1)));
        return true;
      case 0x8b:  // LONG4
        push_long(read(number(4)));
        return true;
      case 'F':
        push(add_real(parsed<double>(line())));
        return true;
      case 'G': {  // BINFLOAT, the one big-endian number
        push(add_real(std::bit_cast<double>(__builtin_bswap64(number(8)))));
        return true;
      }

      case 'S':
        push_quoted(line());
        return true;
      case 'T':  // BINSTRING
      case 'U':  // SHORT_BINSTRING
        push(add_text_or_bytes(read(number(op == 'T' ? 4 : 1))));
        return true;
      case 'B':   // BINBYTES
      case 'C':   // SHORT_BINBYTES
      case 0x8e:  // BINBYTES8
      case 0x96:  // BYTEARRAY8
        push(add_string(Kind::bytes, read(number(op == 'B' ? 4 : op == 'C' ? 1 : 8))));
        return true;
      case 'V':
        push_escaped(line());
        return true;
      case 'X':   // BINUNICODE
      case 0x8c:  // SHORT_BINUNICODE
      case 0x8d:  // BINUNICODE8
        push(add_text(read(number(op == 'X' ? 4 : op == 0x8c ? 1 : 8))));
        return true;

      case ']':  // EMPTY_LIST
        push(add_list(Kind::list, {}));
        return true;
      case 'l':  // LIST
        push(add_list(Kind::list, pop_to_mark()));
        return true;
      case 'a': {  // APPEND
        const Id item = pop();
        append(top(), std::span(&item, 1));
        return true;
      }
      case 'e':     // APPENDS
      case 0x90: {  // ADDITEMS
        const std::vector<Id> added = pop_to_mark();
        append(top(), added);
        return true;
      }
      case ')':  // EMPTY_TUPLE
        push(add_tuple({}));
        return true;
      case 't':  // TUPLE
        push(add_tuple(pop_to_mark()));
        return true;
      case 0x85:    // TUPLE1
      case 0x86:    // TUPLE2
      case 0x87: {  // TUPLE3
        const size_t n = op - 0x84u;
        if (stack_.size() < floor() + n) refuse("the stack is empty");
        const std::vector<Id> last(stack_.end() - static_cast<ptrdiff_t>(n), stack_.end());
        stack_.resize(stack_.size() - n);
        push(add_tuple(last));
        return true;
      }
      case '}':  // EMPTY_DICT
        push(add_list(Kind::dict, {}));
        return true;
      case 'd': {  // DICT
        const std::vector<Id> pairs = pop_to_mark();
        push(add_list(Kind::dict, {}));
        set_items(top(), pairs);
        return true;
      }
      case 's': {  // SETITEM
        const Id item = pop(), key = pop();
        const Id pair[] = {key, item};
        set_items(top(), pair);
        return true;
      }
      case 'u': {  // SETITEMS
        const std::vector<Id> pairs = pop_to_mark();
        set_items(top(), pairs);
        return true;
      }
      case 0x8f:  // EMPTY_SET
        push(add_object(add_global("builtins", "set"), {}));
        return true;
      case 0x91:  // FROZENSET
        push(add_object(add_global("builtins", "frozenset"), pop_to_mark()));
        return true;

      case '0':  // POP; takes the mark where there is nothing above it
        if (stack_.size() > floor()) {
          stack_.pop_back();
        } else {
          pop_to_mark();
        }
        return true;
      case '1':  // POP_MARK
        pop_to_mark();
        return true;
      case '2':  // DUP
        push(top());
        return true;
      case '(':  // MARK
        budget_.take(3 * sizeof(size_t));
        marks_.push_back(stack_.size());
        return true;
      case 'p':
        put(parsed<uint32_t>(line()));
        return true;
      case 'q':  // BINPUT
      case 'r':  // LONG_BINPUT
        put(number(op == 'q' ? 1 : 4));
        return true;
      case 0x94:  // MEMOIZE
        put(memo_.size());
        return true;
      case 'g':
        get(parsed<uint32_t>(line()));
        return true;
      case 'h':  // BINGET
      case 'j':  // LONG_BINGET
        get(number(op == 'h' ? 1 : 4));
        return true;

      case 'c': {  // GLOBAL
        const std::string_view module = line(), name = line();
        push(add_global(module, name));
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        const Id name = pop(), module = pop();
        if (!is(name, Kind::text) || !is(module, Kind::text)) {
          refuse("a global named by {} and {}", name_of_kind(module), name_of_kind(name));
        }
        push(add_global(text(module), text(name)));
        return true;
      }
      case 'R':     // REDUCE
      case 0x81: {  // NEWOBJ
        const Id arguments = pop(), callee = pop();
        if (!is(arguments, Kind::tuple)) refuse("a call with {} instead of a tuple", name_of_kind(arguments));
        push(call(callee, copy_items(arguments)));
        return true;
      }
      case 0x92: {  // NEWOBJ_EX
        const Id named = pop(), arguments = pop(), callee = pop();
        if (!is(arguments, Kind::tuple) || !is(named, Kind::dict)) {
          refuse("a call with {} and {} instead of a tuple and a dict", name_of_kind(arguments), name_of_kind(named));
        }
        std::vector<Id> all = copy_items(arguments);
        if (items(named).empty()) {
          push(call(callee, all));
        } else {  // no constructor that we know takes named arguments: inert
          all.push_back(named);
          push(note_call(callee, all));
        }
        return true;
      }
      case 'i': {  // INST
        const std::string_view module = line(), name = line();
        const std::vector<Id> arguments = pop_to_mark();
        push(call(add_global(module, name), arguments));
        return true;
      }
      case 'o': {  // OBJ
        std::vector<Id> above = pop_to_mark();
        if (above.empty()) refuse("a call of nothing");
        const Id callee = above.front();
        above.erase(above.begin());
        push(call(callee, above));
        return true;
      }
      case 'b': {  // BUILD
        const Id state = pop();
        build(top(), state);
        return true;
      }
      case 'P':
        refuse("persistent id {}: expected a tuple that describes a storage", shown(line()));
      case 'Q': {  // BINPERSID
        push(storage_of(pop()));
        return true;
      }
      default:
        refuse("opcode 0x{:02x} does not occur in weight files", op);
    }
  }

  // ---- numbers and strings with a form of their own ----

  void push_int_line(std::string_view digits) {
    if (digits == "00" || digits == "01") {  // how protocol 0 and 1 write bools
      push(add(Kind::boolean, digits == "01"));
    } else {
      push_digits(digits);
    }
  }
  void push_digits(std::string_view digits) {
    const std::string_view unsigned_digits = digits.substr(digits.starts_with('-') ? 1 : 0);
    if (unsigned_digits.empty() || unsigned_digits.find_first_not_of("0123456789") != std::string_view::npos) {
      refuse("{} is not an integer", shown(digits));
    }
    int64_t v = 0;
    const bool fits = std::from_chars(digits.data(), digits.data() + digits.size(), v).ec == std::errc{};
    push(fits ? add_integer(v) : add_string(Kind::digits, digits));
  }
  void push_long(std::string_view bytes) {
    const auto sign_of = [](char c) { return (c & 0x80) != 0 ? '\xff' : '\0'; };
    // Bytes that only repeat the sign.
    while (bytes.size() > 1 && bytes.back() == sign_of(bytes[bytes.size() - 2])) bytes.remove_suffix(1);
    if (bytes.size() > 8) {
      push(add_string(Kind::big, bytes));
      return;
    }
    uint64_t v = !bytes.empty() && sign_of(bytes.back()) != 0 ? ~uint64_t{0} : 0;
    std::memcpy(&v, bytes.data(), bytes.size());
    push(add_integer(static_cast<int64_t>(v)));
  }

  uint32_t hexadecimal(std::string_view digits, size_t n) {
    uint32_t v = 0;
    if (digits.size() < n) refuse("an escape is cut short");
    digits = digits.substr(0, n);
    if (std::from_chars(digits.data(), digits.data() + n, v, 16).ptr != digits.data() + n) {
      refuse("{} is not hexadecimal", shown(digits));
    }
    return v;
  }
  static void append_utf8(std::string& out, uint32_t c) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
    } else if (c < 0x10000) {
      out += {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
              static_cast<char>(0x80 | (c & 63))};
    } else {
      out += {static_cast<char>(0xf0 | (c >> 18 & 7)), static_cast<char>(0x80 | (c >> 12 & 63)),
              static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
    }
  }
  // Protocol 0's text: Latin-1 with \uXXXX and \UXXXXXXXX.
  void push_escaped(std::string_view raw) {
    std::string out;
    for (size_t i = 0; i < raw.size(); ++i) {
      const char kind = raw[i] == '\\' && i + 1 < raw.size() ? raw[i + 1] : '\0';
      const size_t n = kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
      if (n == 0) {
        append_utf8(out, static_cast<uint8_t>(raw[i]));
        continue;
      }
      const uint32_t c = hexadecimal(raw.substr(i + 2), n);
      if (c > 0x10ffff) refuse("U+{:x} is no character", c);
      append_utf8(out, c);
      i += 1 + n;
    }
    push(add_text(keep(std::move(out))));
  }
  // Protocol 0's Python 2 string, as repr() shows it.
  void push_quoted(std::string_view raw) {
    if (raw.size() < 2 || raw.front() != raw.back() || (raw.front() != '\'' && raw.front() != '"')) {
      refuse("{} is not a quoted string", shown(raw));
    }
    raw = raw.substr(1, raw.size() - 2);
    std::string out;
    constexpr std::string_view letters = "\\'\"abfnrtv", meant = "\\'\"\a\b\f\n\r\t\v";
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] != '\\') {
        out += raw[i];
        continue;
      }
      if (++i == raw.size()) refuse("an escape is cut short");
      if (const size_t known = letters.find(raw[i]); known != std::string_view::npos) {
        out += meant[known];
      } else if (raw[i] == 'x') {
        out += static_cast<char>(hexadecimal(raw.substr(i + 1), 2));
        i += 2;
      } else {
        refuse("escape \\{} in a string", shown(raw.substr(i, 1)));
      }
    }
    push(add_text_or_bytes(keep(std::move(out))));
  }

  // ---- filling and calling ----

  void append(Id target, std::span<const Id> added) {
    if (is(target, Kind::list)) return extend(target, added);
    if (!is(target, Kind::object)) refuse("appends to {}", name_of_kind(target));
    budget_.take(added.size() * 3 * sizeof(Id));
    auto& arguments = objects_[node(target).index].arguments;
    arguments.insert(arguments.end(), added.begin(), added.end());
  }
  void set_items(Id target, std::span<const Id> pairs) {
    if (pairs.size() % 2 != 0) refuse("a key without a value");
    if (is(target, Kind::dict)) return extend(target, pairs);
    if (!is(target, Kind::object)) refuse("sets items of {}", name_of_kind(target));
    for (size_t i = 0; i < pairs.size(); i += 2) {
      const Id pair = add_tuple(pairs.subspan(i, 2));
      append(target, std::span(&pair, 1));
    }
  }
  void build(Id target, Id state) {
    // (attributes, slots), as Python 3 writes objects with slots.
    const bool pair = is(state, Kind::tuple) && items(state).size() == 2;
    const bool attributes = is(state, Kind::dict) || is(state, Kind::none) || pair;
    switch (node(target).kind) {
      case Kind::object:
        objects_[node(target).index].state = state;
        return;
      case Kind::dict:
        if (node(target).dict == DictKind::literal || !attributes) {
          refuse("sets the state of a dict from {}", name_of_kind(state));
        }
        if (node(target).dict == DictKind::name_space && is(state, Kind::dict)) {
          extend(target, copy_items(state));
        }
        return;  // what else a dict has beside its entries (torch's _metadata) is not needed
      case Kind::tensor:
        if (!attributes) refuse("sets the state of a tensor from {}", name_of_kind(state));
        return;
      default:
        refuse("sets the state of {}", name_of_kind(target));
    }
  }

  // A call of something that is not on the list below: noted, not made.
  Id note_call(Id callee, std::span<const Id> arguments) {
    if (is(callee, Kind::global)) return add_object(callee, arguments);
    if (is(callee, Kind::object)) return add_object(objects_[node(callee).index].global, arguments, true);
    refuse("calls {}", name_of_kind(callee));
  }

  // The list of constructors. By value: their items move when nodes are added.
  Id call(Id callee, const std::vector<Id>& arguments) {
    if (!is(callee, Kind::global)) return note_call(callee, arguments);
    const Global g = global(callee);
    const size_t n = arguments.size();
    if (g.module == "torch._utils") {
      if (g.name == "_rebuild_tensor") return tensor(callee, arguments, 4, 4);
      if (g.name == "_rebuild_tensor_v2") return tensor(callee, arguments, 6, 7);
      if (g.name == "_rebuild_tensor_v3") return tensor(callee, arguments, 7, 8);
      if (g.name == "_rebuild_parameter" || g.name == "_rebuild_parameter_with_state") {
        if (n < 3 || (!is(arguments[0], Kind::tensor) && !is(arguments[0], Kind::object))) {
          refuse("{} of {} arguments that start with {}", full_name(callee), n,
                 n == 0 ? "nothing" : name_of_kind(arguments[0]));
        }
        return arguments[0];
      }
    }
    if (g.is("torch._tensor", "_rebuild_from_type_v2") && n == 4 && is(arguments[0], Kind::global) &&
        global(arguments[0]).module == "torch._utils" && is(arguments[2], Kind::tuple)) {
      return call(arguments[0], copy_items(arguments[2]));  // func, type, its arguments, attributes
    }
    const bool ordered = g.is("collections", "OrderedDict"), counter = g.is("collections", "Counter");
    if ((g.is("builtins", "set") || g.is("builtins", "frozenset")) && n == 1 && is(arguments[0], Kind::list)) {
      return add_object(callee, copy_items(arguments[0]));
    }
    if (ordered || counter || g.is("builtins", "dict")) {
      if (n == 0) return add_list(Kind::dict, {}, DictKind::constructed);
      if (n == 1 && is(arguments[0], Kind::dict)) {
        return add_list(Kind::dict, copy_items(arguments[0]), DictKind::constructed);
      }
      if (n == 1 && (is(arguments[0], Kind::list) || is(arguments[0], Kind::tuple))) return dict_of_pairs(arguments[0]);
    }
    if (g.is("collections", "defaultdict") && n <= 1) return add_list(Kind::dict, {}, DictKind::constructed);
    if (g.is("argparse", "Namespace") && n == 0) return add_list(Kind::dict, {}, DictKind::name_space);
    if (g.is("torch", "Size") && n == 1 && is(arguments[0], Kind::tuple)) return arguments[0];
    if (g.is("_codecs", "encode") && n == 2 && is(arguments[0], Kind::text) && is(arguments[1], Kind::text)) {
      const std::string_view encoding = text(arguments[1]);
      if (encoding == "latin1" || encoding == "latin-1") return latin1(text(arguments[0]));
    }
    if (g.name == "scalar" && (g.module == "numpy.core.multiarray" || g.module == "numpy._core.multiarray") && n == 2) {
      const Id scalar = numpy_scalar(arguments[0], arguments[1]);
      if (scalar != kNobody) return scalar;
    }
    return note_call(callee, arguments);
  }

  Id dict_of_pairs(Id pairs) {
    std::vector<Id> entries;
    for (const Id pair : items(pairs)) {
      if ((!is(pair, Kind::tuple) && !is(pair, Kind::list)) || items(pair).size() != 2) {
        refuse("a dict made of {}, expected pairs", name_of_kind(pair));
      }
      entries.insert(entries.end(), items(pair).begin(), items(pair).end());
    }
    return add_list(Kind::dict, entries, DictKind::constructed);
  }

  // Protocol 2 writes bytes as text of the characters U+0000 to U+00FF.
  Id latin1(std::string_view utf8) {
    std::string out;
    for (size_t i = 0; i < utf8.size(); ++i) {
      const auto c = static_cast<uint8_t>(utf8[i]);
      if (c >= 0xc4) refuse("{} does not fit into Latin-1", shown(utf8));
      out += c < 0x80 ? utf8[i] : static_cast<char>((c & 3) << 6 | (utf8[++i] & 63));
    }
    return add_string(Kind::bytes, keep(std::move(out)));
  }

  // numpy.dtype("f8", …) with the byte order in its state: the kind and the size, little-endian only.
  std::string_view numpy_type(Id id) const {
    if (!is(id, Kind::object)) return {};
    const Object& object = objects_[node(id).index];
    if (object.indirect || !global(object.global).is("numpy", "dtype") || object.arguments.empty() ||
        !is(object.arguments[0], Kind::text)) {
      return {};
    }
    std::string_view type = text(object.arguments[0]);
    if (type.starts_with('<') || type.starts_with('|')) type.remove_prefix(1);
    if (object.state != kNobody && is(object.state, Kind::tuple) && items(object.state).size() > 1) {
      const Id order = items(object.state)[1];
      if (is(order, Kind::text) && text(order) == ">") return {};
    }
    return type;
  }
  template <class T>
  static T from_bytes(std::string_view bytes) {
    T v;
    std::memcpy(&v, bytes.data(), sizeof v);
    return v;
  }
  Id numpy_scalar(Id type_id, Id bytes_id) {
    const std::string_view type = numpy_type(type_id);
    if (type.size() != 2 || (!is(bytes_id, Kind::bytes) && !is(bytes_id, Kind::text))) return kNobody;
    const std::string_view bytes = text(bytes_id);
    if (bytes.size() != static_cast<size_t>(type[1] - '0')) return kNobody;
    if (type == "f8") return add_real(from_bytes<double>(bytes));
    if (type == "f4") return add_real(from_bytes<float>(bytes));
    if (type == "i8") return add_integer(from_bytes<int64_t>(bytes));
    if (type == "i4") return add_integer(from_bytes<int32_t>(bytes));
    if (type == "i2") return add_integer(from_bytes<int16_t>(bytes));
    if (type == "i1") return add_integer(from_bytes<int8_t>(bytes));
    if (type == "u4") return add_integer(from_bytes<uint32_t>(bytes));
    if (type == "u2") return add_integer(from_bytes<uint16_t>(bytes));
    if (type == "u1") return add_integer(from_bytes<uint8_t>(bytes));
    if (type == "b1") return add(Kind::boolean, bytes[0] != 0);
    return kNobody;
  }

  // ---- storages and tensors ----

  uint64_t count_of(Id id, const char* what) const {
    if (!is(id, Kind::integer) || node(id).integer < 0) {
      if (is(id, Kind::integer)) refuse("{} is {}, expected 0 or more", what, node(id).integer);
      refuse("{} is {}, expected an int", what, name_of_kind(id));
    }
    return static_cast<uint64_t>(node(id).integer);
  }

  // What a persistent id stands for: ("storage", type, key, location, number of elements[, part of another storage]);
  // the location is where the tensor was ("cuda:0"), which does not matter here.
  Id storage_of(Id persistent) {
    if (!is(persistent, Kind::tuple)) refuse("a persistent id is {}, expected a tuple", name_of_kind(persistent));
    const std::vector<Id> id = copy_items(persistent);
    // ("module", class, its source): a legacy stream with a whole model in it. The class is noted, the source is not
    // looked at.
    if (id.size() == 4 && is(id[0], Kind::text) && text(id[0]) == "module" && is(id[1], Kind::global)) return id[1];
    if (id.size() < 5 || id.size() > 6 || !is(id[0], Kind::text) || text(id[0]) != "storage" ||
        !is(id[1], Kind::global) || !is(id[2], Kind::text)) {
      refuse("a persistent id of {} items, expected (\"storage\", type, key, location, size)", id.size());
    }
    const Global type = global(id[1]);
    const auto* known = std::find_if(std::begin(kStorageTypes), std::end(kStorageTypes),
                                     [&](const StorageType& t) { return t.name == type.name; });
    if (known == std::end(kStorageTypes) ||
        (type.module != "torch" && type.module != "torch.cuda" && type.module != "torch.storage")) {
      refuse("storage {} has the unknown type {}", shown(text(id[2])), shown(full_name(id[1])));
    }
    PickledStorage found{.key = std::string(text(id[2])),
                         .type = full_name(id[1]),
                         .dtype = known->dtype,
                         .count = count_of(id[4], "a storage's size"),
                         .element_size = known->element_size};
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(found.count, found.element_size, &bytes) || bytes > INT64_MAX) {
      refuse("storage {} of {} elements", shown(found.key), found.count);
    }
    StorageView view{.offset = 0, .count = found.count};
    if (id.size() == 6 && !is(id[5], Kind::none)) {  // (key of the part, offset, size), before torch 0.4
      const std::vector<Id> part = is(id[5], Kind::tuple) ? copy_items(id[5]) : std::vector<Id>{};
      if (part.size() != 3) refuse("a part of storage {} is not described by three values", shown(found.key));
      view.offset = count_of(part[1], "the start of a storage's part");
      view.count = count_of(part[2], "the size of a storage's part");
      if (view.offset > found.count || view.count > found.count - view.offset) {
        refuse("a part of storage {} reaches past its end", shown(found.key));
      }
    }
    const auto [it, fresh] = storage_number_.emplace(found.key, static_cast<uint32_t>(storages_.size()));
    view.storage = it->second;
    if (fresh) {
      budget_.take(2 * sizeof(PickledStorage) + 4 * found.key.size() + 64);
      storages_.push_back(std::move(found));
    } else if (const PickledStorage& first = storages_[it->second];
               first.type != found.type || first.count != found.count) {
      refuse("storage {} has {} elements of {} here and {} of {} before", shown(found.key), found.count, found.type,
             first.count, first.type);
    }
    budget_.take(sizeof(StorageView));
    storage_views_.push_back(view);
    return add(Kind::storage, storage_views_.size() - 1);
  }

  std::vector<int64_t> counts(Id id, const char* what) const {
    if (!is(id, Kind::tuple) && !is(id, Kind::list)) {
      refuse("a tensor's {} is {}, expected a tuple", what, name_of_kind(id));
    }
    const auto list = items(id);
    if (list.size() > kMaxRank) refuse("a tensor of {} dims, at most {} can be read", list.size(), kMaxRank);
    std::vector<int64_t> out;
    for (const Id item : list) {
      if (!is(item, Kind::integer) || node(item).integer < 0) {
        if (is(item, Kind::integer)) refuse("a tensor's {} has {}, expected 0 or more", what, node(item).integer);
        refuse("a tensor's {} has {}, expected ints", what, name_of_kind(item));
      }
      out.push_back(node(item).integer);
    }
    return out;
  }

  // (storage, offset, size, stride[, requires_grad, hooks[, dtype if v3][, metadata]]): a tensor node, or a noted call
  // where DType lacks the type.
  Id tensor(Id callee, const std::vector<Id>& arguments, size_t fewest, size_t most) {
    if (arguments.size() < fewest || arguments.size() > most) {
      refuse("{} with {} arguments, expected {} to {}", full_name(callee), arguments.size(), fewest, most);
    }
    if (!is(arguments[0], Kind::storage)) {
      refuse("a tensor on {}, expected a storage", name_of_kind(arguments[0]));
    }
    const StorageView view = storage_views_[node(arguments[0]).index];
    const PickledStorage& whole = storages_[view.storage];
    std::optional<DType> dtype = whole.dtype;
    if (fewest == 7) {
      if (!is(arguments[6], Kind::global)) refuse("a tensor of dtype {}", name_of_kind(arguments[6]));
      const Global named = global(arguments[6]);
      const auto* known =
          std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](auto& t) { return t.name == named.name; });
      dtype.reset();
      if (known != std::end(kDTypes) && named.module == "torch") dtype = known->dtype;
    }
    if (!dtype) return note_call(callee, arguments);

    Tensor t{.storage = view.storage, .dtype = *dtype};
    t.shape = counts(arguments[2], "size");
    t.stride = counts(arguments[3], "stride");
    if (t.shape.size() != t.stride.size()) {
      refuse("a tensor of {} dims and {} strides", t.shape.size(), t.stride.size());
    }
    const uint64_t offset = count_of(arguments[1], "a tensor's offset"), size = size_of(*dtype);
    const uint64_t available = view.count * whole.element_size / size;  // elements
    uint64_t numel = 1, dims = 1, last = offset;
    bool fits = true;
    for (size_t i = 0; i < t.shape.size(); ++i) {
      const auto extent = static_cast<uint64_t>(t.shape[i]), step = static_cast<uint64_t>(t.stride[i]);
      uint64_t reach = 0;
      numel *= extent;  // at most `dims`, which does not wrap
      fits = fits && !__builtin_mul_overflow(dims, std::max<uint64_t>(extent, 1), &dims) && dims <= INT64_MAX / 16;
      if (extent > 1) {
        fits = fits && !__builtin_mul_overflow(extent - 1, step, &reach) &&
               !__builtin_add_overflow(last, reach, &last) && last <= INT64_MAX / 16;
      }
      if (!fits) refuse("a tensor of {} from element {} on is larger than any memory", brackets(t.shape), offset);
    }
    if (numel == 0 ? offset > available : last >= available) {
      refuse("a tensor of {} with strides {} from element {} on leaves its storage of {} elements", brackets(t.shape),
             brackets(t.stride), offset, available);
    }
    // Written out, a view of repeated elements may be any size; no model needs one larger than its file.
    const uint64_t largest = std::max({view.count * whole.element_size, file_size_, kRepeated});
    if (numel * size > largest) {
      refuse("a tensor of {} repeats its storage of {} elements up to {} bytes; {} are accepted for this file",
             brackets(t.shape), available, numel * size, largest);
    }
    t.offset = (view.offset * whole.element_size) + offset * size;
    t.extent = numel == 0 ? 0 : (last - offset + 1) * size;
    budget_.take(sizeof(Tensor) + 2 * (8 * t.shape.size() + 16));
    tensors_.push_back(std::move(t));
    return add(Kind::tensor, tensors_.size() - 1);
  }
  static std::string brackets(const std::vector<int64_t>& list) { return fmt::format("[{}]", fmt::join(list, ", ")); }

  // ---- from nodes to values ----

  struct Done {
    ValuePtr value;
    uint64_t tensor_bytes = 0;  // of all tensors in it, written out
    uint32_t values = 0;        // in it, shared ones counted each time
    uint16_t height = 0;
    bool open = false;  // it is being converted: whoever asks now is inside it
  };

  // `depth`: how deep the value will lie in the result, which is at depth 1.
  const Done& convert(Id id, int depth) {
    static const Done cycle{
        .value = std::make_shared<Value>(Value{Value::Object{.name = "(cycle)"}}), .values = 1, .height = 1};
    Done& done = done_[id];
    if (done.open) return cycle;
    if (depth + (done.value != nullptr ? done.height - 1 : 0) > Value::kMaxDepth) {
      fail("{}: values nested more than {} deep", where_, Value::kMaxDepth);
    }
    if (done.value != nullptr) return done;
    done.open = true;
    done.values = 1;
    done.height = 1;
    Value value = content(id, depth, done);
    if (done.values > Value::kMaxNodes) {
      fail("{}: more than {} values, counting shared ones each time", where_, Value::kMaxNodes);
    }
    if (done.tensor_bytes > tensor_bytes_limit_) {
      fail("{}: tensors that share storages amount to more than {} bytes", where_, tensor_bytes_limit_);
    }
    budget_.take(sizeof(Value) + 32);
    done.value = std::make_shared<const Value>(std::move(value));
    done.open = false;
    return done;
  }

  // A value inside the one whose tally is `outer`.
  ValuePtr inside(Id id, int depth, Done& outer) {
    const Done& inner = convert(id, depth + 1);
    outer.values += inner.values;  // both at most kMaxNodes
    outer.tensor_bytes += inner.tensor_bytes;
    outer.height = std::max<uint16_t>(outer.height, inner.height + 1);
    if (outer.values > Value::kMaxNodes) {
      fail("{}: more than {} values, counting shared ones each time", where_, Value::kMaxNodes);
    }
    return inner.value;
  }
  std::vector<ValuePtr> all_inside(std::span<const Id> list, int depth, Done& outer) {
    budget_.take(list.size() * sizeof(ValuePtr));
    std::vector<ValuePtr> out;
    out.reserve(list.size());
    for (const Id id : list) out.push_back(inside(id, depth, outer));
    return out;
  }

  Value content(Id id, int depth, Done& tally) {
    const Node& n = node(id);
    switch (n.kind) {
      case Kind::none:
        return {Value::None{}};
      case Kind::boolean:
        return {n.index != 0};
      case Kind::integer:
        return {n.integer};
      case Kind::real:
        return {n.real};
      case Kind::text:
        budget_.take(n.count);
        return {std::string(text(id))};
      case Kind::bytes:
        return {Value::Object{.name = "bytes", .arguments = {string_value(std::string(text(id)))}}};
      case Kind::digits:
        return {Value::Object{.name = "int", .arguments = {string_value(std::string(text(id)))}}};
      case Kind::big:
        return {Value::Object{.name = "int", .arguments = {string_value(hexadecimal_of(text(id)))}}};
      case Kind::tuple:
        return {Value::Tuple{all_inside(items(id), depth, tally)}};
      case Kind::list:
        return {Value::List{all_inside(items(id), depth, tally)}};
      case Kind::dict: {
        const auto list = items(id);
        budget_.take(list.size() * sizeof(ValuePtr));
        Value::Dict dict;
        dict.items.reserve(list.size() / 2);
        for (size_t i = 0; i < list.size(); i += 2) {
          ValuePtr key = inside(list[i], depth, tally);
          dict.items.emplace_back(std::move(key), inside(list[i + 1], depth, tally));
        }
        return {std::move(dict)};
      }
      case Kind::global:
        return {Value::Object{.name = full_name(id)}};
      case Kind::object: {
        const Object& object = objects_[n.index];
        Value::Object out{.name = full_name(object.global) + (object.indirect ? "()" : "")};
        budget_.take(out.name.size());
        out.arguments = all_inside(object.arguments, depth, tally);
        if (object.state != kNobody) out.state = inside(object.state, depth, tally);
        return {std::move(out)};
      }
      case Kind::storage:
        return {Value::Object{.name = storages_[storage_views_[n.index].storage].type}};
      case Kind::tensor:
        break;
    }
    const Tensor& t = tensors_[n.index];
    ArrayView array{
        .dtype = t.dtype, .shape = t.shape, .bytes = data_[t.storage].subspan(t.offset, t.extent), .stride = t.stride};
    if (array.dense()) array.stride.clear();
    tally.tensor_bytes += static_cast<uint64_t>(array.numel()) * size_of(t.dtype);
    budget_.take(2 * (8 * t.shape.size() + 16));
    return {std::move(array)};
  }

  ValuePtr string_value(std::string text) {
    budget_.take(sizeof(Value) + 32 + text.size());
    return std::make_shared<const Value>(Value{std::move(text)});
  }
  // Of a little-endian two's complement number; decimal would take quadratic time.
  static std::string hexadecimal_of(std::string_view bytes) {
    const bool negative = (bytes.back() & 0x80) != 0;
    std::string magnitude(bytes);
    if (negative) {
      bool carry = true;  // -x = ~x + 1
      for (char& c : magnitude) {
        c = static_cast<char>(~c);
        if (carry) carry = ++c == 0;
      }
    }
    std::string out = negative ? "-0x" : "0x";
    bool leading = true;
    for (size_t i = magnitude.size(); i-- > 0;) {
      for (const int shift : {4, 0}) {
        const int digit = magnitude[i] >> shift & 15;
        leading = leading && digit == 0;
        if (!leading) out += "0123456789abcdef"[digit];
      }
    }
    return out;
  }

  const char *begin_, *at_, *end_;
  const char* op_ = nullptr;  // the instruction that is being carried out
  std::string where_;
  uint64_t file_size_;
  Budget& budget_;

  std::deque<Node> nodes_;
  std::deque<std::string> kept_;
  std::vector<Id> pool_;  // items of tuples
  std::deque<std::vector<Id>> lists_;
  std::deque<Object> objects_;
  std::vector<Global> globals_;
  std::vector<PickledStorage> storages_;
  std::unordered_map<std::string, uint32_t> storage_number_;
  std::deque<StorageView> storage_views_;
  std::deque<Tensor> tensors_;

  std::vector<Id> stack_;
  size_t highest_ = 0;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, Id> memo_;
  Id result_ = kNobody;

  std::vector<Done> done_;
  std::span<const std::span<const std::byte>> data_;
  uint64_t tensor_bytes_limit_ = 0;
};

Pickle::Pickle(std::span<const std::byte> bytes, std::string where, uint64_t file_size, Budget& budget)
    : machine_(std::make_unique<Machine>(bytes, std::move(where), file_size, budget)) {
  machine_->run();
}
Pickle::~Pickle() = default;
Pickle::Pickle(Pickle&&) noexcept = default;
size_t Pickle::size() const { return machine_->size(); }
const std::vector<PickledStorage>& Pickle::storages() const { return machine_->storages(); }
ValuePtr Pickle::value(std::span<const std::span<const std::byte>> data) { return machine_->value(data); }

}  // namespace hr
