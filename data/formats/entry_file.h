// A JSON file of lists of entries, such as COCO's annotations and results, and the current position in it: the part
// that the strict reader of data/formats and the evaluator's reader, which is as tolerant as pycocotools, have in
// common.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/io/json_cursor.h"

namespace hr {

// The reason why a value is wrong. The entry cannot be used then, but the file can, unlike text that is not JSON.
struct WrongValue {
  std::string why;
};

class EntryFile;

// The place of the current entry, for messages: "annotations[12] (id 5)" or "entry [3]". Checks of every entry name it,
// so it becomes text only when a message is formatted. Valid until the file goes on to the next entry.
struct EntryPlace {
  const EntryFile& file;
  bool with_path = false;  // True if the path of the file comes first: "people.json: entry [3]".

  std::string text() const;
};

class EntryFile {
 public:
  using Kind = JsonCursor::Kind;

  // Throws Error if the file cannot be read.
  explicit EntryFile(const fs::path& path) : path_(path.string()), file_(path), json(file_.text(), path_) {}

  // Takes the next list: calls begin() before each entry, member(name) for each of its members (which takes or skips
  // the value), and end() after it. For an entry that is not an object it calls no_object(why) in place of member().
  // Throws Error if there is no list.
  template <class Begin, class Field, class End, class NoObject>
  void list(std::string_view section, const Begin& begin, const Field& member, const End& end,
            const NoObject& no_object) {
    section_ = section;
    index_ = 0;
    if (json.kind() != Kind::list) fail("{}: {}: expected a list, got {}", path_, section_, got());
    json.enter_list();
    for (; json.item(); ++index_) {
      id_.reset();
      begin();
      if (json.kind() != Kind::object) {
        no_object("expected an object, got " + got());
        json.skip();
      } else {
        json.enter_object();
        for (std::string_view name; json.member(name);) member(std::string_view(field_ = name));
      }
      end();
      release();
    }
  }

  // Takes the object at the top of the file: calls section(name) for each of its members. The function takes the value
  // and returns true, or it returns false, and then the value is skipped. Throws Error if there is no object; the
  // message says that it should have `expected`.
  template <class Section>
  void sections(std::string_view expected, const Section& section) {
    if (json.kind() != Kind::object) {
      fail("{}: expected an object with {} at the top, got {}", path_, expected, got());
    }
    json.enter_object();
    for (std::string_view name; json.member(name);) {
      if (!section(name)) json.skip();
    }
    json.finish();
  }

  EntryPlace place() const { return {*this}; }
  std::string got();  // Describes the next value, which is not the expected one.
  // Both throw WrongValue with the name of the field.
  [[noreturn]] void wrong(std::string_view expected);
  [[noreturn]] void wrong(std::string_view expected, double found) const;

  int64_t whole();  // Throws WrongValue if the next value is none.
  int64_t id();     // The same, and remembers it for place().

  const std::string& path() const { return path_; }
  const std::string& field() const { return field_; }
  size_t index() const { return index_; }  // Of the entry in its list.

 private:
  friend EntryPlace;
  void release();  // Gives memory of the file back that was read.

  std::string path_;
  MappedFile file_;

 public:
  JsonCursor json;

 private:
  std::string section_, field_;
  size_t index_ = 0, released_ = 0;
  std::optional<int64_t> id_;
};

// Ids with their positions in the file, for finding duplicates and for looking them up.
class EntryIds {
 public:
  void add(int64_t id) { all_.emplace_back(id, all_.size()); }
  // Returns the positions of entries whose id occurred before, each with the position of the first one.
  std::vector<std::pair<size_t, size_t>> sort();
  bool contains(int64_t id) const;  // After sort().

 private:
  std::vector<std::pair<int64_t, size_t>> all_;
};

}  // namespace hr

template <>
struct fmt::formatter<hr::EntryPlace> : fmt::formatter<std::string> {
  template <class Context>
  auto format(const hr::EntryPlace& place, Context& context) const {
    return fmt::formatter<std::string>::format(place.text(), context);
  }
};
