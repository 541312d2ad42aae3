#include "core/io/json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/io/json_cursor.h"

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
  // JSON begins with an ASCII character, which UTF-16 encodes as a zero byte and another byte.
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

namespace {

// Reports the next value to a RapidJSON handler. It uses an explicit stack in place of recursion, so that deep nesting
// in a hostile file cannot overflow the stack of the thread.
template <class Handler>
void tell(JsonCursor& json, Handler& handler) {
  struct Open {
    bool object;
    rapidjson::SizeType entries = 0;
  };
  std::vector<Open> open;
  do {
    if (!open.empty()) {
      std::string_view key;
      const bool object = open.back().object;
      if (!(object ? json.member(key) : json.item())) {
        object ? handler.EndObject(open.back().entries) : handler.EndArray(open.back().entries);
        open.pop_back();
        continue;
      }
      ++open.back().entries;
      if (object) handler.Key(key.data(), static_cast<rapidjson::SizeType>(key.size()), true);
    }
    switch (json.kind()) {
      case JsonCursor::Kind::null:
        json.null();
        handler.Null();
        break;
      case JsonCursor::Kind::boolean:
        handler.Bool(json.boolean());
        break;
      case JsonCursor::Kind::number: {
        const JsonNumber number = json.number();
        // Reported as unsigned, as RapidJSON does; RapidJSON converts between signed and unsigned.
        if (number.is_whole && number.whole >= 0) {
          number.whole <= std::numeric_limits<unsigned>::max() ? handler.Uint(static_cast<unsigned>(number.whole))
                                                               : handler.Uint64(static_cast<uint64_t>(number.whole));
        } else if (number.is_whole && !(number.whole == 0 && std::signbit(number.real))) {
          number.whole >= std::numeric_limits<int>::min() ? handler.Int(static_cast<int>(number.whole))
                                                          : handler.Int64(number.whole);
        } else {
          handler.Double(number.real);
        }
        break;
      }
      case JsonCursor::Kind::string: {
        const std::string_view text = json.string();
        handler.String(text.data(), static_cast<rapidjson::SizeType>(text.size()), true);
        break;
      }
      case JsonCursor::Kind::list:
        json.enter_list();
        handler.StartArray();
        open.push_back({false});
        break;
      case JsonCursor::Kind::object:
        json.enter_object();
        handler.StartObject();
        open.push_back({true});
        break;
    }
  } while (!open.empty());
}

}  // namespace

rapidjson::Document parse_json(std::string_view text, std::string_view name) {
  JsonCursor json(text, std::string(name));
  rapidjson::Document document;
  const auto all = [&](rapidjson::Document& handler) {
    tell(json, handler);
    json.finish();
    return true;
  };
  document.Populate(all);
  return document;
}

rapidjson::Document parse_json_file(const fs::path& path) {
  const MappedFile file(path);
  return parse_json(file.text(), path.string());
}

}  // namespace hr
