// Text that comes out of a file and goes into a message.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace hr {

// True for well-formed UTF-8; surrogates and overlong forms are not.
bool valid_utf8(std::string_view text);

// The text in quotes, on one line whatever it holds: control characters escaped, broken UTF-8 as '?', cut with "…"
// after about `limit` bytes.
std::string shown(std::string_view text, size_t limit = 100);

}  // namespace hr
