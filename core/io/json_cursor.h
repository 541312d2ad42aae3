// A cursor over JSON text, for files too large for a tree: the caller takes one value after the other and skips what it
// does not know. Everything that is passed over is checked to be JSON all the same.
//   JsonCursor json(file.text(), "people.json");
//   json.enter_object();
//   for (std::string_view key; json.member(key);) {
//     if (key == "area") area = json.number().real; else json.skip();
//   }
//   json.finish();
// Numbers are the nearest double. NaN, Infinity and -Infinity count as numbers, because Python writes them.
// Every Error is "name:line:column: not valid JSON: why"; asking for another kind than the one ahead is the caller's
// mistake and must be prevented with kind().
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hr {

struct JsonNumber {
  double real = 0;
  int64_t whole = 0;      // when is_whole
  bool is_whole = false;  // 785 and also 785.0, as long as a double says which whole number was meant (2^53)
};

class JsonCursor {
 public:
  enum class Kind { null, boolean, number, string, list, object };

  // `text` must outlive the cursor. A byte order mark before it is passed over; Error as json_text() has them.
  JsonCursor(std::string_view text, std::string name);

  Kind kind();  // of the value ahead

  void enter_object();                 // then member() until it is false, taking or skipping each value
  bool member(std::string_view& key);  // the key lives until the next call
  void enter_list();                   // then item() until it is false, taking or skipping each value
  bool item();

  JsonNumber number();
  // Appends the list ahead to `out` if it holds numbers only, and returns true; else returns false with the cursor at
  // the first item that is no number (take it with kind(); the list cannot be continued).
  bool numbers(std::vector<double>& out);
  std::string_view string();  // lives until the next call
  bool boolean();
  void null();
  void skip();    // the value ahead, of any kind
  void finish();  // only white space may be left

  // Back to where offset() was, before a value that could not be used was taken in part: to skip() it, for instance.
  void back_to(size_t offset) { p_ = begin_ + offset; }
  size_t offset() const { return static_cast<size_t>(p_ - begin_); }

 private:
  [[noreturn]] void bad(const char* why) const;
  void space() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) ++p_;
  }
  char ahead();                 // after white space; Error at the end of the text
  void word(std::string_view);  // true, false, null
  double real();                // a number as a double only
  const char* scan_number(uint64_t& digits, int& exponent, bool& exact, bool& whole, bool& negative);
  double slow_number(const char* end) const;
  std::string_view scan_string();
  void key();  // of a skipped object: string and colon
  bool next(char close);

  std::string name_;
  const char *begin_ = nullptr, *p_ = nullptr, *end_ = nullptr;
  bool first_ = false;  // nothing of the list or object just entered has been taken
  std::string unescaped_;
  std::vector<char> open_;  // closing brackets that skip() waits for
};

}  // namespace hr
