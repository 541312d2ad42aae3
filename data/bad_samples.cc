#include "data/bad_samples.h"

#include <algorithm>

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

void BadSamples::write(const fs::path& path) const {
  std::string text = "kind\tid\tpeople\twhy\n";
  for (const Entry& e : entries()) {
    text += fmt::format("{}\t{}\t{}\t{}\n", e.kind == Kind::annotation ? "annotation" : "picture", e.id, e.people,
                        e.message);
  }
  write_file(path, text);
}

}  // namespace hr
