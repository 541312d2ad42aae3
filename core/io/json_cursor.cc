#include "core/io/json_cursor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/io/json.h"

namespace hr {
namespace {

// 10^0 to 10^22 are the powers of ten that a double represents exactly.
constexpr std::array<double, 23> kExactPowers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr uint64_t kExactWhole = uint64_t{1} << 53;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_utf8(std::string& out, uint32_t c) {
  const auto byte = [&](uint32_t b) { out += static_cast<char>(b); };
  if (c < 0x80) {
    byte(c);
  } else if (c < 0x800) {
    byte(0xC0 | c >> 6);
    byte(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    byte(0xE0 | c >> 12);
    byte(0x80 | (c >> 6 & 0x3F));
    byte(0x80 | (c & 0x3F));
  } else {
    byte(0xF0 | c >> 18);
    byte(0x80 | (c >> 12 & 0x3F));
    byte(0x80 | (c >> 6 & 0x3F));
    byte(0x80 | (c & 0x3F));
  }
}

}  // namespace

JsonCursor::JsonCursor(std::string_view text, std::string name) : name_(std::move(name)) {
  text = json_text(text, name_);
  begin_ = p_ = text.data();
  end_ = begin_ + text.size();
}

void JsonCursor::bad(const char* why) const {
  fail("{}:{}: not valid JSON: {}", name_, line_and_column({begin_, static_cast<size_t>(end_ - begin_)}, offset()),
       p_ == end_ ? "the text ends too early" : why);
}

char JsonCursor::ahead() {
  space();
  if (p_ == end_) bad("");
  return *p_;
}

JsonCursor::Kind JsonCursor::kind() {
  switch (ahead()) {
    case '{':
      return Kind::object;
    case '[':
      return Kind::list;
    case '"':
      return Kind::string;
    case 't':
    case 'f':
      return Kind::boolean;
    case 'n':
      return Kind::null;
    default:
      if (!is_digit(*p_) && *p_ != '-' && *p_ != 'N' && *p_ != 'I') bad("expected a value");
      return Kind::number;
  }
}

void JsonCursor::enter_object() {
  if (ahead() != '{') bad("expected an object");
  ++p_;
  first_ = true;
}

void JsonCursor::enter_list() {
  if (ahead() != '[') bad("expected a list");
  ++p_;
  first_ = true;
}

// Skips the comma before the next entry, or the closing bracket.
bool JsonCursor::next(char close) {
  const char c = ahead();
  if (c == close) {
    ++p_;
    first_ = false;
    return false;
  }
  if (!first_) {
    if (c != ',') bad(close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
    ++p_;
  }
  first_ = false;
  return true;
}

bool JsonCursor::member(std::string_view& key) {
  if (!next('}')) return false;
  if (ahead() != '"') bad("expected a name in quotes");
  key = scan_string();
  if (ahead() != ':') bad("expected ':' after the name");
  ++p_;
  return true;
}

bool JsonCursor::item() { return next(']'); }

// Scans the text of a number and leaves p_ at its start.
inline JsonCursor::Scanned JsonCursor::scan_number() {
  const char* p = p_;
  const bool negative = *p == '-';
  p += negative ? 1 : 0;
  uint64_t value = 0;
  const char* const first = p;
  while (p != end_ && is_digit(*p)) value = value * 10 + static_cast<uint64_t>(*p++ - '0');
  const auto integer_digits = p - first;
  auto count = integer_digits;
  const auto wrong = [&](const char* why) {
    p_ = p;
    bad(why);
  };
  if (integer_digits == 0) wrong("expected a digit");
  if (integer_digits > 1 && *first == '0') wrong("a number may not start with 0");
  bool whole = true;
  int exponent = 0;
  if (p != end_ && *p == '.') {
    whole = false;
    const char* const fraction = ++p;
    while (p != end_ && is_digit(*p)) value = value * 10 + static_cast<uint64_t>(*p++ - '0');
    if (p == fraction) wrong("expected a digit after the point");
    count += p - fraction;
    exponent = static_cast<int>(std::min<ptrdiff_t>(p - fraction, 1000000));
    exponent = -exponent;
  }
  const bool exact = count <= 19;  // Leading zeros are counted too. Such numbers only take the slower path.
  if (p != end_ && (*p == 'e' || *p == 'E')) {
    whole = false;
    ++p;
    const bool minus = p != end_ && *p == '-';
    if (p != end_ && (*p == '-' || *p == '+')) ++p;
    const char* const power = p;
    int written = 0;
    while (p != end_ && is_digit(*p)) {
      if (written < 100000) written = written * 10 + (*p - '0');
      ++p;
    }
    if (p == power) wrong("expected a digit in the exponent");
    exponent += minus ? -written : written;
  }
  return {p, value, exponent, exact, whole, negative};
}

// Converts every number that the fast path cannot convert exactly. The text is a well-formed number.
double JsonCursor::slow_number(const char* end) const {
  double value = 0;
  const auto result = std::from_chars(p_, end, value);
  if (result.ec == std::errc::result_out_of_range) {  // from_chars does not say whether the result is 0 or infinite.
    const std::string text(p_, end);
    value = std::strtod(text.c_str(), nullptr);
  }
  return value;
}

// Takes a scanned number.
inline double JsonCursor::take(const Scanned& number) {
  double value = 0;
  // Both factors are exact, so that the single rounding of the product or quotient gives the nearest double.
  if (number.exact && number.digits <= kExactWhole && number.exponent >= -22 && number.exponent <= 22) {
    value = static_cast<double>(number.digits);
    value = number.exponent < 0 ? value / kExactPowers[-number.exponent] : value * kExactPowers[number.exponent];
    value = number.negative ? -value : value;
  } else {
    value = slow_number(number.end);
  }
  p_ = number.end;
  return value;
}

inline double JsonCursor::real() {
  if (*p_ == 'N' || *p_ == 'I' || (*p_ == '-' && end_ - p_ > 1 && p_[1] == 'I')) {
    const bool negative = *p_ == '-';
    p_ += negative ? 1 : 0;
    if (*p_ == 'N') {
      word("NaN");
      return std::numeric_limits<double>::quiet_NaN();
    }
    word("Infinity");
    return negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  }
  return take(scan_number());
}

JsonNumber JsonCursor::number() {
  ahead();
  if (*p_ == 'N' || *p_ == 'I' || (*p_ == '-' && end_ - p_ > 1 && p_[1] == 'I')) return {.real = real()};
  const Scanned scanned = scan_number();
  JsonNumber number{.real = take(scanned)};
  constexpr auto limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (scanned.whole && scanned.exact && scanned.digits <= limit) {
    number.is_whole = true;
    number.whole = scanned.negative ? -static_cast<int64_t>(scanned.digits) : static_cast<int64_t>(scanned.digits);
  } else {
    number.is_whole = std::abs(number.real) <= 0x1p53 && number.real == std::floor(number.real);
    if (number.is_whole) number.whole = static_cast<int64_t>(number.real);
  }
  return number;
}

// Takes a number of at most seven characters, such as "304.17", that a separator follows; otherwise returns false and
// takes nothing. Eight characters are converted at once, because the loops over digits of the general way end after a
// different number of digits each time, which the processor cannot predict.
inline bool JsonCursor::short_number(double& value) {
  if constexpr (std::endian::native != std::endian::little) return false;
  if (end_ - p_ < 8) return false;
  constexpr uint64_t every = 0x0101010101010101;
  uint64_t text = 0;
  std::memcpy(&text, p_, 8);
  const uint64_t digits = text ^ (every * '0');
  uint64_t others =
      (((digits & every * 0x7F) + every * (0x7F - 9)) | digits) & every * 0x80;  // A bit per other character.
  if (others == 0) return false;
  const int whole = std::countr_zero(others) / 8;  // The number of digits before the point.
  if (whole == 0 || (whole > 1 && *p_ == '0')) return false;
  int end = whole, fraction = 0;
  uint64_t packed = digits & ((uint64_t{1} << 8 * whole) - 1);
  if (p_[whole] == '.') {
    others &= others - 1;
    if (others == 0) return false;
    end = std::countr_zero(others) / 8;
    fraction = end - whole - 1;
    if (fraction == 0) return false;
    const uint64_t behind = digits & ((uint64_t{1} << 8 * end) - 1);
    packed |= behind >> 8 * (whole + 1) << 8 * whole;
  }
  const char next = p_[end];
  if (next != ',' && next != ']' && next != ' ' && next != '\n' && next != '\r') return false;
  // The last digit becomes the highest byte. Then neighbours are joined to numbers of two, four and eight digits.
  packed <<= 8 * (8 - whole - fraction);
  packed = (packed * 10 + (packed >> 8)) & 0x00FF00FF00FF00FF;
  packed = (packed * 100 + (packed >> 16)) & 0x0000FFFF0000FFFF;
  packed = (packed * 10000 + (packed >> 32)) & 0xFFFFFFFF;
  value = static_cast<double>(packed) / kExactPowers[fraction];
  p_ += end;
  return true;
}

bool JsonCursor::numbers(std::vector<double>& out) {
  enter_list();
  while (item()) {
    space();
    double value = 0;
    if (!short_number(value)) {
      if (kind() != Kind::number) return false;
      value = real();
    }
    out.push_back(value);
  }
  return true;
}

void JsonCursor::word(std::string_view expected) {
  if (std::string_view(p_, std::min<size_t>(expected.size(), end_ - p_)) != expected) bad("expected a value");
  p_ += expected.size();
}

bool JsonCursor::boolean() {
  const bool value = ahead() == 't';
  word(value ? "true" : "false");
  return value;
}

void JsonCursor::null() {
  ahead();
  word("null");
}

std::string_view JsonCursor::string() {
  if (ahead() != '"') bad("expected a string");
  return scan_string();
}

// Starts at the opening quote. The result is usually a view of the text; it is a copy only if something is escaped.
std::string_view JsonCursor::scan_string() {
  const char* const start = ++p_;
  bool copied = false;
  for (;;) {
    const char* const plain = p_;
    while (p_ != end_ && *p_ != '"' && *p_ != '\\' && static_cast<unsigned char>(*p_) >= 0x20) ++p_;
    if (p_ == end_) bad("");
    if (copied) unescaped_.append(plain, p_);
    if (*p_ == '"') {
      const std::string_view text = copied ? std::string_view(unescaped_) : std::string_view(start, p_ - start);
      ++p_;
      return text;
    }
    if (*p_ != '\\') bad("a control character in a string");
    if (!copied) unescaped_.assign(start, p_);
    copied = true;
    const auto four = [&] {
      uint32_t code = 0;
      for (int i = 0; i < 4; ++i) {
        if (p_ == end_) bad("");
        const int digit = hex_digit(*p_);
        if (digit < 0) bad("expected four hexadecimal digits after \\u");
        code = code * 16 + static_cast<uint32_t>(digit);
        ++p_;
      }
      return code;
    };
    ++p_;
    if (p_ == end_) bad("");
    static constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    const size_t letter = letters.find(*p_);
    if (letter != std::string_view::npos) {
      unescaped_ += meanings[letter];
      ++p_;
    } else if (*p_ == 'u') {
      ++p_;
      uint32_t code = four();
      if (code >= 0xD800 && code < 0xDC00) {  // This is the first half of a surrogate pair.
        if (end_ - p_ < 2 || p_[0] != '\\' || p_[1] != 'u') bad("half a surrogate pair");
        p_ += 2;
        const uint32_t low = four();
        if (low < 0xDC00 || low > 0xDFFF) bad("half a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      } else if (code >= 0xDC00 && code < 0xE000) {
        bad("half a surrogate pair");
      }
      append_utf8(unescaped_, code);
    } else {
      bad("an unknown escape in a string");
    }
  }
}

void JsonCursor::key() {
  if (ahead() != '"') bad("expected a name in quotes");
  scan_string();
  if (ahead() != ':') bad("expected ':' after the name");
  ++p_;
}

// Works without recursion, so that deep nesting in a hostile file cannot overflow the stack.
void JsonCursor::skip() {
  open_.clear();
  first_ = false;
  for (;;) {
    const char c = ahead();
    if (c == '{' || c == '[') {
      ++p_;
      const char close = c == '{' ? '}' : ']';
      if (ahead() != close) {
        open_.push_back(close);
        if (close == '}') key();
        continue;
      }
      ++p_;
    } else if (c == '"') {
      scan_string();
    } else if (c == 't' || c == 'f') {
      boolean();
    } else if (c == 'n') {
      null();
    } else if (is_digit(c) || (c == '-' && end_ - p_ > 1 && p_[1] != 'I')) {
      p_ = scan_number().end;
    } else if (c == '-' || c == 'N' || c == 'I') {
      real();
    } else {
      bad("expected a value");
    }
    for (;;) {  // a value has ended
      if (open_.empty()) return;
      const char after = ahead();
      if (after == ',') {
        ++p_;
        if (open_.back() == '}') key();
        break;
      }
      if (after != open_.back()) bad(open_.back() == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
      ++p_;
      open_.pop_back();
    }
  }
}

void JsonCursor::finish() {
  space();
  if (p_ != end_) bad("expected the end of the text");
}

}  // namespace hr
