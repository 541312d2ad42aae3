// The one writer of JSON: text grows entry by entry in a string of the caller, who may move it to a file and clear it
// between any two calls, so that a file of any size needs little memory.
#pragma once
#include <concepts>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

namespace hr {

// Escapes and quotes a string for JSON output. Bytes above 0x7f are copied: text in UTF-8 stays so, and the name of a
// file keeps the bytes under which the file is found.
std::string json_quote(std::string_view text);

// Returns a number as Python's repr() prints it: the shortest digits that read back equal, "1.0" for 1, and "NaN",
// "Infinity", "-Infinity".
std::string python_repr(double v);

// The form of the text. Programs that compare files byte by byte expect the form which each file has always had.
struct JsonStyle {
  std::string_view comma = ", ";  // Between two entries that stand on the same line.
  std::string_view colon = ": ";  // Between a key and its value.
  int lines = 0;                  // Containers nested less deep than this put each entry on a line of its own,
  int indent = 2;                 // indented by so many spaces for each level.
  bool python_reals = false;      // Whole reals end in ".0", as Python writes them.
  bool non_finite = false;        // Writes NaN and Infinity as Python does, which is no JSON. Otherwise an Error.
};
inline constexpr JsonStyle kJsonCompact{.comma = ",", .colon = ":"};

// A real with a fixed number of decimals.
struct JsonFixed {
  double value = 0;
  int decimals = 6;
};

// Every call appends to `out`, which must outlive the writer. Throws Error if a real is not finite (unless the style
// allows it), if a value in an object has no key, if a key stands outside of an object, or if end() has nothing to end.
// Not thread-safe.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out, const JsonStyle& style = {}) : out_(out), style_(style) {}

  JsonWriter& begin_object() { return begin('{'); }
  JsonWriter& begin_list() { return begin('['); }
  JsonWriter& end();
  JsonWriter& key(std::string_view name);

  // Writes a string, a number, true or false, null for an empty optional, and a list for a range of these.
  template <class T>
  JsonWriter& value(const T& v) {
    if constexpr (std::convertible_to<T, std::string_view>) {
      return raw(json_quote(v));
    } else if constexpr (std::same_as<T, bool>) {
      return raw(v ? "true" : "false");
    } else if constexpr (std::signed_integral<T>) {
      return whole(static_cast<long long>(v));
    } else if constexpr (std::unsigned_integral<T>) {
      return whole(static_cast<unsigned long long>(v));
    } else if constexpr (std::same_as<T, float> || std::same_as<T, double>) {
      return real(v);
    } else if constexpr (std::same_as<T, JsonFixed>) {
      return fixed(v);
    } else if constexpr (std::ranges::range<T>) {
      begin_list();
      for (const auto& entry : v) value(entry);
      return end();
    } else {
      return v ? value(*v) : raw("null");
    }
  }
  template <class T>
  JsonWriter& member(std::string_view name, const T& v) {
    return key(name).value(v);
  }
  // Copies a complete JSON value that another writer has made, with the style of that writer.
  JsonWriter& copy(std::string_view json) { return raw(json); }

 private:
  JsonWriter& begin(char bracket);
  JsonWriter& raw(std::string_view text);
  JsonWriter& whole(long long v);
  JsonWriter& whole(unsigned long long v);
  JsonWriter& real(float v);
  JsonWriter& real(double v);
  JsonWriter& fixed(const JsonFixed& v);
  void begin_entry();  // Writes what stands between the previous entry and the next one.
  void new_line(size_t level);

  struct Open {
    bool object = false;
    bool empty = true;
    bool keyed = false;  // A key was written and its value was not.
  };
  std::string& out_;
  JsonStyle style_;
  std::vector<Open> open_;
};

// Returns the value, or nullopt if it is not finite, which JsonWriter writes as null.
std::optional<double> if_finite(double v);

}  // namespace hr
