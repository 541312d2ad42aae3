// Reads entries of COCO's files strictly: a value of another type than expected makes the entry unusable.
#pragma once
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "data/formats/coco.h"
#include "data/formats/entry_file.h"

namespace hr {

class StrictEntries final : public EntryFile {
 public:
  using EntryFile::EntryFile;

  // As EntryFile::list(). A field whose value throws WrongValue is skipped, and wrong(name, why) decides what follows.
  // For an entry that is not an object wrong("", why) is called.
  template <class Begin, class Field, class End, class OnWrong>
  void entries(std::string_view section, const Begin& begin, const Field& field_of, const End& end,
               const OnWrong& on_wrong) {
    const auto attempt = [&](std::string_view name) {
      const size_t value = json.offset();
      try {
        field_of(name);
      } catch (const WrongValue& wrong) {
        json.back_to(value);
        json.skip();
        on_wrong(name, wrong.why);
      }
    };
    list(section, begin, attempt, end, [&](const std::string& why) { on_wrong(std::string_view(), why); });
  }

  // The same for files in which a wrong value is an Error.
  template <class Begin, class Field, class End>
  void entries(std::string_view section, const Begin& begin, const Field& field_of, const End& end) {
    entries(section, begin, field_of, end,
            [&](std::string_view, const std::string& why) { fail("{}: {}: {}", path(), place(), why); });
  }

  double number() {  // Accepts NaN and infinity too.
    if (json.kind() != Kind::number) wrong("a number");
    return json.number().real;
  }
  double finite() {
    const double value = number();
    if (!std::isfinite(value)) wrong("a number", value);
    return value;
  }
  // Takes a list of `expected` numbers; NaN and infinity are accepted too.
  void numbers(std::vector<double>& out, std::string_view expected) {
    out.clear();
    if (json.kind() != Kind::list) wrong(expected);
    out.reserve(usual_);
    if (json.numbers(out)) return;
    out.clear();
    if (json.kind() == Kind::list) throw WrongValue{field() + ": expected one list of numbers, got lists in a list"};
    wrong("a number");
  }
  void keypoints(std::vector<double>& out) {
    numbers(out, "a list of numbers");
    usual_ = out.size();
  }
  Box box() {
    std::vector<double>& v = scratch_;
    numbers(v, "a list of 4 numbers");
    if (v.size() != 4)
      throw WrongValue{fmt::format("bbox: expected 4 numbers (x, y, width, height), got {}", v.size())};
    for (const double value : v) {
      if (!std::isfinite(value)) wrong("a number", value);
    }
    return {v[0], v[1], v[2], v[3]};
  }
  bool yes_or_no() {
    if (json.kind() == Kind::boolean) return json.boolean();
    if (json.kind() != Kind::number) wrong("0 or 1");
    return whole() != 0;
  }
  void require(bool seen, const char* name) const { check(seen, "{}: {}: no \"{}\"", path(), place(), name); }

 private:
  // The usual number of values in a keypoint list. A vector that grows by doubling would keep unused memory.
  size_t usual_ = 0;
  std::vector<double> scratch_;
};

}  // namespace hr
