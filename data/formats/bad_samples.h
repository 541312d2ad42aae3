// What was left out of a dataset and why: every annotation and every picture once, however often it turns up.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"

namespace hr {

// Thread-safe: loader threads meet bad pictures too.
class BadSamples {
 public:
  enum class Kind : uint8_t { annotation, picture };
  // Why a picture is bad, as far as a program may say something about it or count it.
  enum class Cause : uint8_t { other, not_there, not_readable, another_size, turned, cut_or_damaged };
  struct Entry {
    Kind kind = Kind::annotation;
    int64_t id = 0;       // of the annotation or of the image
    std::string message;  // one line that says where, what and, for pictures, which file
    size_t people = 1;    // who are lost with it
    Cause cause = Cause::other;
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
  std::string causes() const;          // of the pictures, the most frequent first: "12 not there, 1 cut off or damaged"
  // One line per entry, tab-separated: annotation|picture, id, people, message. Atomic.
  void write(const fs::path& path) const;

 private:
  using ById = std::map<std::pair<Kind, int64_t>, Entry>;
  ById by_id() const;
  mutable std::mutex mutex_;
  ById entries_;
};

// Collects remarks that stop nothing, such as pictures with damaged data. It keeps the first of each kind and counts
// the others. It is thread-safe.
class Remarks {
 public:
  Remarks() = default;
  Remarks(const Remarks& other) : kinds_(other.copy()) {}
  Remarks& operator=(const Remarks&) = delete;

  // The same thing (an image's id) counts once. what: "pictures with damaged data", in the plural.
  void add(const std::string& what, int64_t id, const std::string& message);
  // One sentence per kind: "p1.jpg: ... (one of 4 pictures with damaged data)".
  std::vector<std::string> lines() const;

 private:
  struct Of {
    std::string first;
    std::set<int64_t> ids;
  };
  std::map<std::string, Of> copy() const;
  mutable std::mutex mutex_;
  std::map<std::string, Of> kinds_;
};

}  // namespace hr
