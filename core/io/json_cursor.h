// A cursor over JSON text, for files that are too large for a tree. The caller takes one value after the other and
// skips the values that it does not know. Skipped values are checked to be valid JSON too.
//   JsonCursor json(file.text(), "people.json");
//   json.enter_object();
//   for (std::string_view key; json.member(key);) {
//     if (key == "area") area = json.number().real; else json.skip();
//   }
//   json.finish();
// A number is the nearest double. NaN, Infinity and -Infinity count as numbers, because Python writes them. Every
// function throws Error "name:line:column: not valid JSON: why" for malformed text. Taking a value of another kind than
// the next one is an error of the caller, who must look at kind() first. Not thread-safe.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hr {

struct JsonNumber {
  double real = 0;
  int64_t whole = 0;  // Only valid if is_whole.
  // True for 785 and also for 785.0, as long as a double identifies the whole number (up to 2^53).
  bool is_whole = false;
};

class JsonCursor {
 public:
  enum class Kind { null, boolean, number, string, list, object };

  // `text` must outlive the cursor. A byte order mark at its beginning is skipped. Throws the errors of json_text().
  JsonCursor(std::string_view text, std::string name);

  Kind kind();  // The kind of the next value.

  void enter_object();                 // After it call member() until it returns false, and take or skip each value.
  bool member(std::string_view& key);  // The key is valid until the next call.
  void enter_list();                   // After it call item() until it returns false, and take or skip each value.
  bool item();

  JsonNumber number();
  // If the next list holds numbers only, appends them to `out` and returns true. Otherwise returns false with the
  // cursor at the first item that is not a number. Look at its kind() and take it; the list cannot be continued.
  bool numbers(std::vector<double>& out);
  std::string_view string();  // Valid until the next call.
  bool boolean();
  void null();
  void skip();    // Skips the next value, of any kind.
  void finish();  // Throws Error if anything but white space is left.

  // Returns to a position that offset() gave, before a value that was taken in part, for example in order to skip() it.
  void back_to(size_t offset) { p_ = begin_ + offset; }
  size_t offset() const { return static_cast<size_t>(p_ - begin_); }

 private:
  [[noreturn]] void bad(const char* why) const;
  void space() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) ++p_;
  }
  char ahead();  // Skips white space and returns the next character. Throws Error at the end of the text.
  void word(std::string_view);  // Takes one of true, false and null.
  double real();                // Takes a number as a double only.
  struct Scanned {
    const char* end = nullptr;  // Of the text.
    uint64_t digits = 0;        // All digits as one whole number,
    int exponent = 0;           // to be multiplied with this power of ten.
    bool exact = false;         // True if these two represent the number exactly.
    bool whole = false, negative = false;
  };
  Scanned scan_number();
  double take(const Scanned& number);
  bool short_number(double& value);
  double slow_number(const char* end) const;
  std::string_view scan_string();
  void key();  // Takes the key and the colon of a member of a skipped object.
  bool next(char close);

  std::string name_;
  const char *begin_ = nullptr, *p_ = nullptr, *end_ = nullptr;
  bool first_ = false;  // Nothing of the list or object just entered has been taken yet.
  std::string unescaped_;
  std::vector<char> open_;  // The closing brackets that skip() still expects.
};

}  // namespace hr
