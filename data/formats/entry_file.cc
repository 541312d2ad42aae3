#include "data/formats/entry_file.h"

#include <algorithm>

namespace hr {

std::string EntryPlace::text() const {
  std::string out = with_path ? file.path_ + ": " : "";
  out += fmt::format("{}[{}]", file.section_.empty() ? "entry " : file.section_, file.index_);
  return file.id_ ? fmt::format("{} (id {})", out, *file.id_) : out;
}

std::string EntryFile::got() {
  static constexpr const char* names[] = {"null", "true or false", "a number", "a string", "a list", "an object"};
  return names[static_cast<int>(json.kind())];
}

void EntryFile::wrong(std::string_view expected) {
  const std::string ahead = json.kind() == Kind::number ? fmt::format("{}", json.number().real) : got();
  throw WrongValue{fmt::format("{}: expected {}, got {}", field_, expected, ahead)};
}

void EntryFile::wrong(std::string_view expected, double found) const {
  throw WrongValue{fmt::format("{}: expected {}, got {}", field_, expected, found)};
}

int64_t EntryFile::whole() {
  if (json.kind() != Kind::number) wrong("a whole number");
  const JsonNumber number = json.number();
  if (!number.is_whole) wrong("a whole number", number.real);
  return number.whole;
}

int64_t EntryFile::id() { return *(id_ = whole()); }

void EntryFile::release() {
  constexpr size_t step = size_t{4} << 20;
  if (json.offset() > released_ + step) file_.release(file_.bytes().first(released_ = json.offset()));
}

std::vector<std::pair<size_t, size_t>> EntryIds::sort() {
  std::sort(all_.begin(), all_.end());
  std::vector<std::pair<size_t, size_t>> repeated;
  size_t first = 0;
  for (size_t i = 1; i < all_.size(); ++i) {
    if (all_[i].first != all_[first].first) {
      first = i;
    } else {
      repeated.emplace_back(all_[i].second, all_[first].second);
    }
  }
  return repeated;
}

bool EntryIds::contains(int64_t id) const {
  const auto at = std::lower_bound(all_.begin(), all_.end(), std::pair(id, size_t{0}));
  return at != all_.end() && at->first == id;
}

}  // namespace hr
