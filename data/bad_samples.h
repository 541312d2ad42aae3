// What was left out of a dataset and why: every annotation and every picture once, however often it turns up.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"

namespace hr {

// Thread-safe: loader threads meet bad pictures too.
class BadSamples {
 public:
  enum class Kind : uint8_t { annotation, picture };
  struct Entry {
    Kind kind = Kind::annotation;
    int64_t id = 0;       // of the annotation or of the image
    std::string message;  // one line that says where, what and, for pictures, which file
    size_t people = 1;    // who are lost with it
  };

  BadSamples() = default;
  BadSamples(const BadSamples& other) : entries_(other.by_id()) {}
  BadSamples& operator=(const BadSamples&) = delete;

  // True the first time; later reports of the same thing change nothing.
  bool add(Entry entry);
  bool contains(Kind kind, int64_t id) const;
  size_t size() const;
  std::vector<Entry> entries() const;  // annotations before pictures, by id
  std::string summary() const;         // "2 annotations and 1 picture (with 3 people)"; "" when there is nothing
  // One line per entry, tab-separated: annotation|picture, id, people, message. Atomic.
  void write(const fs::path& path) const;

 private:
  using ById = std::map<std::pair<Kind, int64_t>, Entry>;
  ById by_id() const;
  mutable std::mutex mutex_;
  ById entries_;
};

}  // namespace hr
