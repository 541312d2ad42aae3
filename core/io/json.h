// JSON as a tree of RapidJSON's values, for small files; large ones are walked with the cursor (core/io/json_cursor.h).
// The cursor is the only parser: the tree is built by it, so that both accept the same texts and give the same errors,
// "file:line:column: what". (The header of a safetensors file has a reader of its own, because its format forbids what
// JSON allows: the same key twice, text that is not UTF-8, anything but strings and lists of whole numbers.)
#pragma once
#include <rapidjson/document.h>

#include <string>
#include <string_view>

#include "core/file.h"
#include "core/io/json_write.h"

namespace hr {

using Json = rapidjson::Value;

// Returns "line:column", counted from 1, of a byte offset.
std::string line_and_column(std::string_view text, size_t offset);

// Returns the text after a UTF-8 byte order mark; every reader of JSON calls this first. Throws Error "name: is ..."
// for files that people take for JSON by mistake: gzip, zip, UTF-16, an HTML page, a Git LFS pointer.
std::string_view json_text(std::string_view text, std::string_view name);

// Parses a whole file or text. Throws Error "name:line:column: reason" if it is malformed.
rapidjson::Document parse_json(std::string_view text, std::string_view name);
rapidjson::Document parse_json_file(const fs::path& path);

}  // namespace hr
