// Text from a file, prepared for a message.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace hr {

// True for well-formed UTF-8. Surrogates and overlong forms are not well-formed.
bool valid_utf8(std::string_view text);

// Returns the text in quotes and on one line: control characters are escaped, broken UTF-8 becomes '?', and the text is
// cut with "…" after about `limit` bytes.
std::string shown(std::string_view text, size_t limit = 100);

}  // namespace hr
