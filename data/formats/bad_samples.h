// The list of what was left out of a dataset and why. Every annotation and every picture is listed once, even if it is
// found several times.
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

// Thread-safe, because loader threads find bad pictures too.
class BadSamples {
 public:
  enum class Kind : uint8_t { annotation, picture };
  // Why a picture is bad, as far as programs distinguish or count the reasons.
  enum class Cause : uint8_t { other, not_there, not_readable, another_size, turned, cut_or_damaged };
  struct Entry {
    Kind kind = Kind::annotation;
    int64_t id = 0;       // Of the annotation or of the image.
    std::string message;  // One line that says where and what, and for pictures in which file.
    size_t people = 1;    // The number of people that are lost with it.
    Cause cause = Cause::other;
  };

  BadSamples() = default;
  BadSamples(const BadSamples& other) : entries_(other.by_id()) {}
  BadSamples& operator=(const BadSamples&) = delete;

  // Returns true the first time. Later reports of the same annotation or picture change nothing.
  bool add(Entry entry);
  bool contains(Kind kind, int64_t id) const;
  size_t size() const;
  std::vector<Entry> entries() const;  // Annotations before pictures, sorted by id.
  std::string summary() const;  // For example "2 annotations and 1 picture (with 3 people)"; "" if there are none.
  // The causes of bad pictures, the most frequent first: "12 not there, 1 cut off or damaged".
  std::string causes() const;
  // Writes one line per entry, separated by tabs: annotation|picture, id, people, message. The file appears in one
  // step.
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

  // Reports the same thing (the id of an image) only once. `what` is in the plural: "pictures with damaged data".
  void add(const std::string& what, int64_t id, const std::string& message);
  // Returns one sentence per kind: "p1.jpg: ... (one of 4 pictures with damaged data)".
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
