#include "core/io/pickle.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/io/pickle_calls.h"
#include "core/io/pickle_values.h"
#include "core/io/text.h"

namespace hr {

using namespace pickling;

// Reads instructions and moves nodes between the stack, the memo and the containers.
class Pickle::Machine : public Calls {
 public:
  Machine(std::span<const std::byte> bytes, std::string where, uint64_t file_size, Budget& budget)
      : Calls(std::move(where), file_size, budget),
        begin_(reinterpret_cast<const char*>(bytes.data())),
        at_(begin_),
        end_(begin_ + bytes.size()) {}

  void run() {
    while (step()) {
    }
  }
  size_t size() const { return static_cast<size_t>(at_ - begin_); }
  const std::vector<PickledStorage>& storages() const { return storages_; }
  ValuePtr value(std::span<const std::span<const std::byte>> data) const { return to_value(*this, result_, data); }

 private:
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

  // ---- stack and memo ----

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
    std::vector<Id> above(stack_.begin() + static_cast<ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return above;
  }
  // Pickles number their memo slots from 0. If a pickle leaves gaps, the slots beyond go into a map.
  void put(uint64_t slot) {
    if (slot == memo_.size()) {
      budget_.take(3 * sizeof(Id));
      memo_.push_back(top());
      far_memo_.erase(slot);
      return;
    }
    if (slot > memo_.size() && far_memo_.count(slot) == 0) budget_.take(48);
    (slot < memo_.size() ? memo_[slot] : far_memo_[slot]) = top();
  }
  void get(uint64_t slot) {
    if (slot < memo_.size()) return push(memo_[slot]);
    const auto it = far_memo_.find(slot);
    if (it == far_memo_.end()) refuse("slot {} of the memo is read and was never written", slot);
    push(it->second);
  }

  // Executes one instruction; returns false after STOP.

  bool step() {
    place_ = size();
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

      case '0':  // POP removes the mark if nothing lies above it.
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
        marks_.push_back(stack_.size());
        if (marks_.size() > most_marks_) {
          most_marks_ = marks_.size();
          budget_.take(3 * sizeof(size_t));
        }
        return true;
      case 'p':
        put(parsed<uint32_t>(line()));
        return true;
      case 'q':  // BINPUT
      case 'r':  // LONG_BINPUT
        put(number(op == 'q' ? 1 : 4));
        return true;
      case 0x94:  // MEMOIZE
        put(memo_.size() + far_memo_.size());
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
          refuse("the module and name of a global are {} and {}, expected text", name_of_kind(module),
                 name_of_kind(name));
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
        } else {  // No known constructor takes named arguments, so the call is only recorded.
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
        if (above.empty()) refuse("a call without a callee");
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

  // ---- Numbers and strings with a special form ----

  void push_int_line(std::string_view digits) {
    if (digits == "00" || digits == "01") {  // Protocols 0 and 1 write bools in this way.
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
    // Removes bytes that only repeat the sign.
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
  // Text of protocol 0: Latin-1 with \uXXXX and \UXXXXXXXX.
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
      if (c > 0x10ffff) refuse("U+{:x} is not a character", c);
      append_utf8(out, c);
      i += 1 + n;
    }
    push(add_text(keep(std::move(out))));
  }
  // A Python 2 string in protocol 0, in the form of repr().
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

  const char *begin_, *at_, *end_;
  std::vector<Id> stack_;
  size_t highest_ = 0;
  std::vector<size_t> marks_;
  size_t most_marks_ = 0;
  std::vector<Id> memo_;
  std::unordered_map<uint64_t, Id> far_memo_;
  Id result_ = kNobody;
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
