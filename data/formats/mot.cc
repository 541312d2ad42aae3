#include "data/formats/mot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/io/text.h"

namespace hr {
namespace {

constexpr int kMaxColumns = 10;
constexpr double kMaxFrame = 1e9;
constexpr double kMaxPixels = 1e9;
constexpr double kMaxId = 9007199254740992.0;  // 2^53. Above it, neighbouring integers are the same double.

bool separates(char c) { return c == ',' || c == ' ' || c == '\t'; }

struct Line {
  std::string_view text, name;
  int number = 0;

  template <class... Args>
  void require(bool condition, fmt::format_string<Args...> format, Args&&... args) const {
    if (!condition) fail("{}:{}: {}", name, number, fmt::format(format, std::forward<Args>(args)...));
  }
};

// Reads the numbers of a line. A comma ends a field, so that two in a row leave an empty field, which is an error.
// Blanks do not end a field, and a single comma may end the line.
int read_numbers(const Line& line, std::array<double, kMaxColumns>& numbers) {
  static constexpr std::array<const char*, kMaxColumns> kNames{"frame",  "id",    "left",  "top",        "width",
                                                               "height", "score", "class", "visibility", "unused"};
  std::string_view rest = line.text;
  int count = 0;
  const auto skip_blanks = [&] { rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size())); };
  for (skip_blanks(); !rest.empty(); skip_blanks()) {
    line.require(count < kMaxColumns, "more than {} columns; expected frame, id, left, top, width, height, score, ...",
                 kMaxColumns);
    const auto field_end = std::find_if(rest.begin(), rest.end(), separates);
    std::string_view field = rest.substr(0, field_end - rest.begin());
    rest.remove_prefix(field.size());
    const std::string_view digits = field.starts_with('+') ? field.substr(1) : field;
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    line.require(error == std::errc() && end == digits.data() + digits.size() && std::isfinite(value),
                 "column {} ({}) is {}; expected a finite number", count + 1, kNames[count], shown(field, 30));
    numbers[count++] = value;
    skip_blanks();
    if (rest.starts_with(',')) rest.remove_prefix(1);
  }
  line.require(count >= 6, "{} columns; expected at least 6: frame, id, left, top, width, height", count);
  return count;
}

MotBox read_box(const Line& line, MotKind kind) {
  std::array<double, kMaxColumns> n{};
  const int columns = read_numbers(line, n);
  line.require(n[0] == std::floor(n[0]) && n[0] >= 1 && n[0] <= kMaxFrame,
               "frame {}; frames are whole numbers that count from 1", n[0]);
  for (int i = 2; i < 6; ++i)
    line.require(std::abs(n[i]) <= kMaxPixels, "{} is not a position or size in pixels", n[i]);
  line.require(n[4] >= 0 && n[5] >= 0, "a box of {} x {} pixels; sizes cannot be negative", n[4], n[5]);
  MotBox box{.frame = static_cast<int>(n[0]), .box = {n[2], n[3], n[4], n[5]}, .line = line.number};
  if (columns > 6) box.score = n[6];
  if (kind == MotKind::detections) return box;
  line.require(n[1] == std::floor(n[1]) && n[1] >= 0 && n[1] <= kMaxId,
               "id {}; the id of a person is a whole number from 0 (detections have none and cannot be used here)",
               n[1]);
  box.id = static_cast<int64_t>(n[1]);
  if (kind == MotKind::truth && columns == 9) {
    line.require(n[7] == std::floor(n[7]) && std::abs(n[7]) < 1000, "class {}; expected a whole number", n[7]);
    box.category = static_cast<int>(n[7]);
  }
  return box;
}

// Ids are checked in a sorted copy, so that the boxes keep the order of the file.
void refuse_twice(std::span<const MotBox> frame, std::string_view name) {
  std::vector<std::pair<int64_t, int>> ids;
  for (const MotBox& b : frame) ids.emplace_back(b.id, b.line);
  std::sort(ids.begin(), ids.end());
  for (size_t i = 1; i < ids.size(); ++i) {
    check(ids[i].first != ids[i - 1].first, "{}:{}: id {} is in frame {} a second time; it was in line {} already",
          name, ids[i].second, ids[i].first, frame[0].frame, ids[i - 1].second);
  }
}

std::string number(double value, int decimals) {
  std::string text = fmt::format("{:.{}f}", value, decimals);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text == "-0" ? "0" : text;
}

}  // namespace

std::vector<MotBox> parse_mot(std::string_view text, std::string_view name, MotKind kind) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<MotBox> boxes;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    Line line{text.substr(0, end), name, number};
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.text.ends_with('\r')) line.text.remove_suffix(1);
    if (line.text.find_first_not_of(" \t") == std::string_view::npos) continue;
    boxes.push_back(read_box(line, kind));
  }
  std::stable_sort(boxes.begin(), boxes.end(), [](const MotBox& a, const MotBox& b) { return a.frame < b.frame; });
  if (kind == MotKind::detections) return boxes;
  for (size_t begin = 0, end = 0; begin < boxes.size(); begin = end) {
    while (end < boxes.size() && boxes[end].frame == boxes[begin].frame) ++end;
    refuse_twice(std::span(boxes).subspan(begin, end - begin), name);
  }
  return boxes;
}

std::vector<MotBox> read_mot(const fs::path& path, MotKind kind) {
  const MappedFile file(path);
  return parse_mot(file.text(), path.string(), kind);
}

std::string mot_text(std::span<const MotBox> boxes) {
  std::string text;
  for (const MotBox& b : boxes) {
    text += fmt::format("{},{},{},{},{},{},{},-1,-1,-1\n", b.frame, b.id, number(b.box.x, 2), number(b.box.y, 2),
                        number(b.box.w, 2), number(b.box.h, 2), number(b.score, 4));
  }
  return text;
}

}  // namespace hr
