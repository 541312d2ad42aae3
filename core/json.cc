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

rapidjson::Document parse_json(std::string_view text, std::string_view name) {
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
