#include "data/formats/bad_samples.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "core/counted.h"
#include "core/error.h"

namespace hr {

bool BadSamples::add(Entry entry) {
  std::replace_if(
      entry.message.begin(), entry.message.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  const std::lock_guard lock(mutex_);
  const auto key = std::pair(entry.kind, entry.id);
  return entries_.emplace(key, std::move(entry)).second;
}

bool BadSamples::contains(Kind kind, int64_t id) const {
  const std::lock_guard lock(mutex_);
  return entries_.count({kind, id}) != 0;
}

size_t BadSamples::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

BadSamples::ById BadSamples::by_id() const {
  const std::lock_guard lock(mutex_);
  return entries_;
}

std::vector<BadSamples::Entry> BadSamples::entries() const {
  std::vector<Entry> out;
  for (const auto& [key, entry] : by_id()) out.push_back(entry);
  return out;
}

std::string BadSamples::summary() const {
  size_t annotations = 0, pictures = 0, people = 0;
  for (const Entry& entry : entries()) {
    if (entry.kind == Kind::annotation) {
      ++annotations;
    } else {
      ++pictures;
      people += entry.people;
    }
  }
  std::string text;
  if (annotations > 0) text = counted(annotations, "annotation");
  if (pictures > 0) {
    text += fmt::format("{}{} (with {})", text.empty() ? "" : " and ", counted(pictures, "picture"),
                        counted_people(people));
  }
  return text;
}

std::string BadSamples::causes() const {
  static constexpr std::array<const char*, 6> words = {"bad for other reasons",
                                                       "not there",
                                                       "not readable as pictures",
                                                       "of another size than annotated",
                                                       "turned by EXIF against their annotations",
                                                       "cut off or damaged"};
  std::array<size_t, words.size()> counts{};
  for (const Entry& entry : entries()) {
    if (entry.kind == Kind::picture) ++counts[static_cast<size_t>(entry.cause)];
  }
  std::array<size_t, words.size()> order{};
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return counts[a] > counts[b]; });
  std::string text;
  for (const size_t i : order) {
    if (counts[i] > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", counts[i], words[i]);
  }
  return text;
}

void BadSamples::write(const fs::path& path) const {
  std::string text = "kind\tid\tpeople\twhy\n";
  for (const Entry& e : entries()) {
    text += fmt::format("{}\t{}\t{}\t{}\n", e.kind == Kind::annotation ? "annotation" : "picture", e.id, e.people,
                        e.message);
  }
  write_file(path, text);
}

void Remarks::add(const std::string& what, int64_t id, const std::string& message) {
  const std::lock_guard lock(mutex_);
  Of& kind = kinds_[what];
  if (kind.ids.empty()) kind.first = message;
  kind.ids.insert(id);
}

std::map<std::string, Remarks::Of> Remarks::copy() const {
  const std::lock_guard lock(mutex_);
  return kinds_;
}

std::vector<std::string> Remarks::lines() const {
  std::vector<std::string> out;
  for (const auto& [what, kind] : copy()) {
    out.push_back(kind.first);
    if (kind.ids.size() > 1) out.back() += fmt::format(" (one of {} {})", kind.ids.size(), what);
  }
  return out;
}

}  // namespace hr
