#include "core/io/text.h"

#include <cstdint>

#include "core/io/json_write.h"

namespace hr {
namespace {

// Returns the length in bytes of the well-formed character at the beginning, 0 if there is none (Unicode 15, table
// 3-7).
size_t character(std::string_view s) {
  const auto at = [&](size_t i) { return i < s.size() ? static_cast<uint8_t>(s[i]) : uint8_t{0}; };
  const auto follows = [&](size_t i, uint8_t lo = 0x80, uint8_t hi = 0xbf) { return at(i) >= lo && at(i) <= hi; };
  const uint8_t c = at(0);
  if (c < 0x80) return s.empty() ? 0 : 1;
  if (c >= 0xc2 && c <= 0xdf) return follows(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    return follows(1, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf) && follows(2) ? 3 : 0;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    return follows(1, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t n = character(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string shown(std::string_view text, size_t limit) {
  std::string clean;
  while (!text.empty() && clean.size() < limit) {
    const size_t n = character(text);
    // U+007F to U+009F control terminals too, and JSON does not escape them.
    const bool steers = text[0] == '\x7f' || (n == 2 && text[0] == '\xc2' && static_cast<uint8_t>(text[1]) < 0xa0);
    if (n == 0 || steers) {
      clean += '?';
    } else {
      clean += text.substr(0, n);
    }
    text.remove_prefix(n == 0 ? 1 : n);
  }
  if (!text.empty()) clean += "…";
  return json_quote(clean);
}

}  // namespace hr
