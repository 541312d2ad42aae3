#include "core/json.h"

#include <rapidjson/error/en.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>

#include "core/error.h"

namespace hr {

std::string line_and_column(std::string_view text, size_t offset) {
  text = text.substr(0, offset);
  const auto line = 1 + std::count(text.begin(), text.end(), '\n');
  const size_t newline = text.rfind('\n');
  return fmt::format("{}:{}", line, newline == std::string_view::npos ? text.size() + 1 : text.size() - newline);
}

std::string_view json_text(std::string_view text, std::string_view name) {
  using namespace std::string_view_literals;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const auto starts = [&](std::string_view with) { return text.starts_with(with); };
  if (starts("\x1f\x8b")) fail("{}: is compressed with gzip; unpack it first", name);
  if (starts("PK\3\4")) fail("{}: is a zip file; unpack it first", name);
  // JSON begins with ASCII, of which UTF-16 makes a zero byte and another one.
  if (starts("\xff\xfe") || starts("\xfe\xff") || starts("\0"sv) || text.substr(0, 2).ends_with('\0')) {
    fail("{}: is UTF-16 text; save it as UTF-8", name);
  }
  if (starts("version https://git-lfs")) {
    fail("{}: is a Git LFS pointer; fetch the file itself with git lfs pull", name);
  }
  if (const size_t first = text.find_first_not_of(" \t\r\n"); first != text.npos && text[first] == '<') {
    fail("{}: is an HTML page or XML; the download gave a web page instead of the file", name);
  }
  return text;
}

rapidjson::Document parse_json(std::string_view text, std::string_view name) {
  text = json_text(text, name);
  rapidjson::Document document;
  // Iterative: an enemy's deep nesting must not overflow the stack.
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag | rapidjson::kParseNanAndInfFlag>(
      text.data(), text.size());
  if (document.HasParseError()) {
    fail("{}:{}: not valid JSON: {}", name, line_and_column(text, document.GetErrorOffset()),
         rapidjson::GetParseError_En(document.GetParseError()));
  }
  return document;
}

rapidjson::Document parse_json_file(const fs::path& path) {
  const MappedFile file(path);
  return parse_json(file.text(), path.string());
}

std::string json_quote(std::string_view text) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace hr
