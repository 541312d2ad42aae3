#include "data/formats/coco.h"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/io/json_cursor.h"

namespace hr {
namespace {

using Kind = JsonCursor::Kind;

// The reason why a value is wrong. The entry cannot be used then, but the file can, unlike text that is not JSON.
struct Wrong {
  std::string why;
};

// A file of lists of entries and the current position in it, for messages such as "people.json: annotations[12] (id 5):
// bbox: ...".
class Source {
 public:
  explicit Source(const fs::path& path) : path_(path.string()), file_(path), json(file_.text(), path_) {}

  // Takes the next list: calls begin() before each entry, field(name) for each of its members (which takes or skips the
  // value), and end() after it. A field whose value throws Wrong is skipped, and wrong(name, why) decides what follows.
  // For an entry that is not an object wrong("", why) is called, and then end().
  template <class Begin, class Field, class End, class OnWrong>
  void entries(std::string_view section, const Begin& begin, const Field& field, const End& end,
               const OnWrong& on_wrong) {
    section_ = section;
    index_ = 0;
    if (json.kind() != Kind::list) fail("{}: {}: expected a list, got {}", path_, section_, got());
    json.enter_list();
    for (; json.item(); ++index_) {
      has_id_ = false;
      begin();
      if (json.kind() != Kind::object) {
        on_wrong(std::string_view(), fmt::format("expected an object, got {}", got()));
        json.skip();
        end();
        continue;
      }
      json.enter_object();
      for (std::string_view name; json.member(name);) {
        field_ = name;
        const size_t value = json.offset();
        try {
          field(std::string_view(field_));
        } catch (const Wrong& wrong) {
          json.back_to(value);
          json.skip();
          on_wrong(std::string_view(field_), wrong.why);
        }
      }
      end();
      constexpr size_t step = size_t{4} << 20;
      if (json.offset() > released_ + step) file_.release(file_.bytes().first(released_ = json.offset()));
    }
  }

  // The same for files in which a wrong value is an Error.
  template <class Begin, class Field, class End>
  void entries(std::string_view section, const Begin& begin, const Field& field, const End& end) {
    entries(section, begin, field, end,
            [&](std::string_view, const std::string& why) { fail("{}: {}: {}", path_, place(), why); });
  }

  // For example "annotations[12] (id 5)".
  std::string place() const {
    const std::string entry = fmt::format("{}[{}]", section_.empty() ? "entry " : section_, index_);
    return has_id_ ? fmt::format("{} (id {})", entry, id_) : entry;
  }
  // Describes the next value, which is not the expected one.
  std::string got() {
    static constexpr const char* names[] = {"null", "true or false", "a number", "a string", "a list", "an object"};
    return names[static_cast<int>(json.kind())];
  }
  [[noreturn]] void wrong(std::string_view expected) {
    const std::string ahead = json.kind() == Kind::number ? fmt::format("{}", json.number().real) : got();
    throw Wrong{fmt::format("{}: expected {}, got {}", field_, expected, ahead)};
  }
  [[noreturn]] void wrong(std::string_view expected, double found) const {
    throw Wrong{fmt::format("{}: expected {}, got {}", field_, expected, found)};
  }

  int64_t whole() {
    if (json.kind() != Kind::number) wrong("a whole number");
    const JsonNumber number = json.number();
    if (!number.is_whole) wrong("a whole number", number.real);
    return number.whole;
  }
  int64_t id() {
    id_ = whole();
    has_id_ = true;
    return id_;
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
    if (json.kind() == Kind::list) throw Wrong{field_ + ": expected one list of numbers, got lists in a list"};
    wrong("a number");
  }
  void keypoints(std::vector<double>& out) {
    numbers(out, "a list of numbers");
    usual_ = out.size();
  }
  Box box() {
    std::vector<double>& v = scratch_;
    numbers(v, "a list of 4 numbers");
    if (v.size() != 4) throw Wrong{fmt::format("bbox: expected 4 numbers (x, y, width, height), got {}", v.size())};
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
  void require(bool seen, const char* name) const { check(seen, "{}: {}: no \"{}\"", path_, place(), name); }

  const std::string& path() const { return path_; }
  size_t index() const { return index_; }

 private:
  std::string path_;
  MappedFile file_;

 public:
  JsonCursor json;

 private:
  std::string section_, field_;
  size_t index_ = 0;  // Of the entry.
  int64_t id_ = 0;
  bool has_id_ = false;
  size_t released_ = 0;
  // The usual number of values in a keypoint list. A vector that grows by doubling would keep unused memory.
  size_t usual_ = 0;
  std::vector<double> scratch_;
};

// Ids with their positions in the file, for finding duplicates and for looking them up.
class Ids {
 public:
  void add(int64_t id) { all_.emplace_back(id, all_.size()); }
  // Returns the positions of entries whose id occurred before, each with the position of the earlier entry.
  std::vector<std::pair<size_t, size_t>> sort() {
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
  bool contains(int64_t id) const {
    const auto at = std::lower_bound(all_.begin(), all_.end(), std::pair(id, size_t{0}));
    return at != all_.end() && at->first == id;
  }

 private:
  std::vector<std::pair<int64_t, size_t>> all_;
};

class AnnotationReader {
 public:
  AnnotationReader(const fs::path& path, int joints, BadSamples* bad, std::vector<int64_t> categories)
      : in_(path), joints_(joints), bad_(bad), categories_(std::move(categories)) {
    out_.path = in_.path();
  }

  std::vector<CocoCategory> read_only_categories() {
    if (in_.json.kind() != Kind::object) {
      fail("{}: expected an object with categories at the top, got {}", in_.path(), in_.got());
    }
    in_.json.enter_object();
    for (std::string_view section; in_.json.member(section);) {
      section == "categories" ? read_categories() : in_.json.skip();
    }
    in_.json.finish();
    return std::move(out_.categories);
  }

  CocoAnnotations read() {
    if (in_.json.kind() != Kind::object) {
      fail("{}: expected an object with images and annotations at the top, got {}", in_.path(), in_.got());
    }
    in_.json.enter_object();
    bool images = false, annotations = false;
    for (std::string_view section; in_.json.member(section);) {
      if (section == "images") {
        read_images();
        images = true;
      } else if (section == "annotations") {
        read_annotations();
        annotations = true;
      } else if (section == "categories") {
        read_categories();
      } else {
        in_.json.skip();
      }
    }
    in_.json.finish();
    check(images, "{}: no \"images\"; expected a COCO person_keypoints file", in_.path());
    check(annotations, "{}: no \"annotations\"; expected a COCO person_keypoints file", in_.path());
    check_ids();
    return std::move(out_);
  }

 private:
  // Handles an entry that cannot be used: it is an Error, or is named and left out. Entries without a usable id are
  // identified by their position in the file, counted below zero.
  void leave_out(BadSamples::Kind kind, std::optional<int64_t> id, size_t index, const std::string& place,
                 const std::string& why) {
    const std::string message = fmt::format("{}: {}: {}", in_.path(), place, why);
    if (bad_ == nullptr) throw Error(message);
    const size_t people = kind == BadSamples::Kind::annotation ? 1 : 0;
    bad_->add({kind, id.value_or(-1 - static_cast<int64_t>(index)), message, people});
  }

  // Checks that ids occur once and that images of annotations exist in the file.
  void check_ids() {
    const auto place = [](const char* section, size_t i, int64_t id) {
      return fmt::format("{}[{}] (id {})", section, i, id);
    };
    const auto once = [&](auto& list, const std::vector<size_t>& index_of, BadSamples::Kind kind, const char* section) {
      Ids ids;
      for (const auto& entry : list) ids.add(entry.id);
      std::vector<std::pair<size_t, size_t>> repeated = ids.sort();  // Also the earlier entry with the same id.
      std::sort(repeated.begin(), repeated.end());
      for (const auto& [again, first] : repeated) {
        leave_out(kind, list[again].id, index_of[again], place(section, index_of[again], list[again].id),
                  fmt::format("the id is already used by {}[{}]", section, index_of[first]));
      }
      remove(list, repeated);
      return ids;
    };
    const Ids images = once(out_.images, image_index_, BadSamples::Kind::picture, "images");
    std::vector<std::pair<size_t, size_t>> lost;
    for (size_t i = 0; i < out_.annotations.size(); ++i) {
      const CocoAnnotation& a = out_.annotations[i];
      if (images.contains(a.image_id)) continue;
      leave_out(BadSamples::Kind::annotation, a.id, annotation_index_[i],
                place("annotations", annotation_index_[i], a.id),
                fmt::format("image_id {} is not among the {} images", a.image_id, out_.images.size()));
      lost.emplace_back(i, i);
    }
    remove(out_.annotations, lost);
    remove(annotation_index_, lost);
    once(out_.annotations, annotation_index_, BadSamples::Kind::annotation, "annotations");
  }

  template <class List>
  static void remove(List& list, const std::vector<std::pair<size_t, size_t>>& ascending) {
    if (ascending.empty()) return;
    size_t to = 0, next = 0;
    for (size_t i = 0; i < list.size(); ++i) {
      if (next < ascending.size() && ascending[next].first == i) {
        ++next;
      } else if (to++ != i) {
        list[to - 1] = std::move(list[i]);
      }
    }
    list.resize(to);
  }

  // Takes the width or height of a picture. 0, null and all values that are not a size count as unknown; the picture's
  // own size is used where it is needed.
  int side() {
    if (in_.json.kind() != Kind::number) {
      in_.json.skip();
      return 0;
    }
    const JsonNumber pixels = in_.json.number();
    const bool size = pixels.is_whole && pixels.whole >= 1 && pixels.whole <= std::numeric_limits<int>::max();
    return size ? static_cast<int>(pixels.whole) : 0;
  }

  void read_images() {
    CocoImage image;
    std::optional<int64_t> id;
    std::string why;  // Why the entry cannot be used.
    const auto begin = [&] {
      image = {};
      id.reset();
      why.clear();
    };
    const auto field = [&](std::string_view name) {
      if (name == "id") {
        id = image.id = in_.id();
      } else if (name == "file_name") {
        if (in_.json.kind() == Kind::string) {
          image.file_name = in_.json.string();
        } else {
          in_.json.skip();  // Reported later by the code that needs the picture.
        }
      } else if (name == "width") {
        image.width = side();
      } else if (name == "height") {
        image.height = side();
      } else if (name == "crowdIndex") {
        image.crowd_index = in_.finite();
      } else {
        in_.json.skip();
      }
    };
    const auto wrong = [&](std::string_view, const std::string& trouble) {
      if (why.empty()) why = trouble;
    };
    const auto end = [&] {
      if (why.empty() && !id) why = "no \"id\"";
      if (!why.empty()) return leave_out(BadSamples::Kind::picture, id, in_.index(), in_.place(), why);
      out_.images.push_back(std::move(image));
      image_index_.push_back(in_.index());
    };
    in_.entries("images", begin, field, end, wrong);
  }

  void read_annotations() {
    CocoAnnotation a;
    std::optional<int64_t> id;
    bool image_id = false, bbox = false, num_keypoints = false;
    std::string why, why_no_box, why_no_joints;  // The first problem of each kind.
    // COCO-WholeBody: the parts after the body, in the order of the joints.
    std::array<std::vector<double>, 4> parts;
    std::array<bool, 4> valid{};
    const auto begin = [&] {
      a = {};
      a.has_area = false;
      a.lacks = coco_field::area | coco_field::iscrowd | coco_field::num_keypoints | coco_field::category;
      for (auto& part : parts) part.clear();
      valid.fill(true);
      id.reset();
      image_id = bbox = num_keypoints = false;
      for (std::string* text : {&why, &why_no_box, &why_no_joints}) text->clear();
    };
    const auto field = [&](std::string_view name) {
      if (name == "keypoints") {
        in_.keypoints(a.keypoints);
      } else if (name == "id") {
        id = a.id = in_.id();
      } else if (name == "image_id") {
        a.image_id = in_.whole();
        image_id = true;
      } else if (name == "category_id") {
        a.category_id = in_.whole();
        a.lacks &= ~coco_field::category;
      } else if (name == "bbox") {
        bbox = true;
        a.box = in_.box();
      } else if (name == "area") {
        if (null()) return;  // A null counts as if the field were absent.
        a.area = in_.finite();
        a.has_area = true;
        a.lacks &= ~coco_field::area;
      } else if (name == "iscrowd") {
        if (null()) return;
        a.iscrowd = in_.yes_or_no();
        a.lacks &= ~coco_field::iscrowd;
      } else if (name == "num_keypoints") {
        // It can be counted from the keypoints.
        if (in_.json.kind() != Kind::number) return in_.json.skip();
        const JsonNumber n = in_.json.number();
        if (!n.is_whole || n.whole < 0 || n.whole > 1000000) return;
        a.num_keypoints = static_cast<int>(n.whole);
        num_keypoints = true;
        a.lacks &= ~coco_field::num_keypoints;
      } else if (const auto [part, is_valid] = part_of(name); part >= 0 && joints_ != 0) {
        if (is_valid) {
          valid[part] = in_.yes_or_no();
        } else {
          in_.numbers(parts[part], "a list of numbers");
        }
      } else {
        in_.json.skip();
      }
    };
    const auto wrong = [&](std::string_view name, const std::string& trouble) {
      std::string& text = name == "bbox"                                    ? why_no_box
                          : name == "keypoints" || part_of(name).first >= 0 ? why_no_joints
                                                                            : why;
      if (text.empty()) text = trouble;
    };
    const auto end = [&] {
      if (why.empty() && !id) why = "no \"id\"";
      if (why.empty() && !image_id) why = "no \"image_id\"";
      if (why.empty()) {
        append_parts(a, parts, valid);
        forget_unlabelled(a);
        if (why_no_box.empty() && !bbox) why_no_box = "no \"bbox\"";
        if (why_no_joints.empty()) why_no_joints = trouble(a);
        // Training uses neither the boxes nor the joints of other categories, and no joints of crowds.
        const bool kept = joints_ == 0 || keeps(a.category_id);
        if (!kept || (joints_ != 0 && a.iscrowd)) {
          if (!why_no_joints.empty()) a.keypoints.clear();
        } else {
          why = why_no_joints;
        }
        if (kept && !why_no_box.empty()) why = why_no_box;
      }
      if (!why.empty()) return leave_out(BadSamples::Kind::annotation, id, in_.index(), in_.place(), why);
      if (common_ == 0) common_ = a.keypoints.size();
      if (!a.has_area) a.area = a.box.w * a.box.h;
      if (!num_keypoints) {
        for (size_t i = 2; i < a.keypoints.size(); i += 3) a.num_keypoints += static_cast<int>(a.keypoints[i] > 0);
      }
      out_.annotations.push_back(std::move(a));
      annotation_index_.push_back(in_.index());
    };
    in_.entries("annotations", begin, field, end, wrong);
  }

  // Skips a null.
  bool null() {
    if (in_.json.kind() != Kind::null) return false;
    in_.json.null();
    return true;
  }

  bool keeps(int64_t category) const {
    return categories_.empty() || std::find(categories_.begin(), categories_.end(), category) != categories_.end();
  }

  // Removes the position of an unlabelled joint, which is not needed and is NaN in published files.
  static void forget_unlabelled(CocoAnnotation& a) {
    for (size_t i = 0; i + 2 < a.keypoints.size(); i += 3) {
      if (!(a.keypoints[i + 2] <= 0)) continue;
      for (const size_t k : {i, i + 1}) {
        if (!std::isfinite(a.keypoints[k])) a.keypoints[k] = 0;
      }
    }
  }

  // Returns {0..3, false} for the list of a part, {0..3, true} for its validity flag, and {-1, false} for any other
  // field.
  static std::pair<int, bool> part_of(std::string_view name) {
    static constexpr std::string_view parts[] = {"foot", "face", "lefthand", "righthand"};
    for (int i = 0; i < 4; ++i) {
      if (!name.starts_with(parts[i])) continue;
      const std::string_view rest = name.substr(parts[i].size());
      if (rest == "_kpts" || rest == "_valid") return {i, rest == "_valid"};
    }
    return {-1, false};
  }

  void append_parts(CocoAnnotation& a, const std::array<std::vector<double>, 4>& parts,
                    const std::array<bool, 4>& valid) const {
    size_t all = a.keypoints.size();
    for (const auto& part : parts) all += part.size();
    if (a.keypoints.empty() || all == a.keypoints.size() || all != static_cast<size_t>(joints_) * 3) return;
    a.keypoints.reserve(all);
    for (size_t i = 0; i < parts.size(); ++i) {
      for (size_t k = 0; k < parts[i].size(); ++k) {
        double value = parts[i][k];
        // Some of these lists have confidences in place of visibilities.
        if (k % 3 == 2 && std::isfinite(value)) value = value <= 0 || !valid[i] ? 0 : value < 1.5 ? 1 : 2;
        a.keypoints.push_back(value);
      }
    }
  }

  // Returns what is wrong with the joints of an annotation; empty if nothing is wrong.
  std::string trouble(const CocoAnnotation& a) const {
    const size_t n = a.keypoints.size();
    if (n == 0) {
      // If the caller needs joints, a person must have some. If every category is kept, only some of them have joints.
      if (joints_ == 0 || categories_.empty()) return {};
      return fmt::format("no keypoints; expected {} ({} joints x 3)", 3 * joints_, joints_);
    }
    if (joints_ != 0 && n != static_cast<size_t>(joints_) * 3) {
      return fmt::format("keypoints: expected {} numbers ({} joints x 3), got {}; does --num-joints fit this file?",
                         3 * joints_, joints_, n);
    }
    if (n % 3 != 0) return fmt::format("keypoints: expected x, y, v per joint, got {} numbers", n);
    for (const double v : a.keypoints) {
      if (!std::isfinite(v)) return fmt::format("keypoints: expected a number, got {}", v);
    }
    if (common_ != 0 && n != common_) {
      return fmt::format("keypoints: expected {} numbers as in the annotations before, got {}", common_, n);
    }
    return {};
  }

  // Of a category only the id is always needed. Problems with the other fields are kept for callers that need its
  // skeleton.
  void read_categories() {
    CocoCategory category;
    bool id = false;
    std::string why;
    const auto begin = [&] {
      category = {};
      id = false;
      why.clear();
    };
    const auto field = [&](std::string_view name) {
      if (name == "id") {
        category.id = in_.id();
        id = true;
      } else if (name == "name") {
        if (in_.json.kind() != Kind::string) return in_.json.skip();
        category.name = in_.json.string();
      } else if (name == "keypoints") {
        if (null()) return;
        if (in_.json.kind() != Kind::list) in_.wrong("a list of names");
        for (in_.json.enter_list(); in_.json.item();) {
          if (in_.json.kind() != Kind::string) in_.wrong("names in the list");
          category.keypoints.emplace_back(in_.json.string());
        }
      } else if (name == "skeleton") {
        if (in_.json.kind() != Kind::list) return in_.json.skip();
        for (in_.json.enter_list(); in_.json.item();) category.skeleton.push_back(limb());
      } else {
        in_.json.skip();
      }
    };
    const auto wrong = [&](std::string_view name, const std::string& trouble) {
      if (name == "keypoints") {
        category.keypoints.clear();
        category.trouble = trouble;
      } else if (why.empty()) {
        why = trouble;
      }
    };
    const auto end = [&] {
      check(why.empty(), "{}: {}: {}", in_.path(), in_.place(), why);
      out_.categories.push_back(std::move(category));
    };
    in_.entries("categories", begin, field, end, wrong);
  }

  // Takes two joints, counted from 1. Anything but a pair of numbers becomes joint 0, which does not exist, so that the
  // limb is counted among those that are left out.
  std::pair<int, int> limb() {
    constexpr std::pair<int, int> none{0, 0};
    if (in_.json.kind() != Kind::list) {
      in_.json.skip();
      return none;
    }
    std::array<int, 2> joint{};
    size_t n = 0;
    bool good = true;
    for (in_.json.enter_list(); in_.json.item(); ++n) {
      JsonNumber k;
      in_.json.kind() == Kind::number ? void(k = in_.json.number()) : in_.json.skip();
      if (n < 2 && k.is_whole && k.whole >= 0 && k.whole <= 1000000) {
        joint.at(n) = static_cast<int>(k.whole);
      } else {
        good = false;
      }
    }
    return good && n == 2 ? std::pair(joint[0], joint[1]) : none;
  }

  Source in_;
  int joints_;
  BadSamples* bad_;
  std::vector<int64_t> categories_;
  size_t common_ = 0;                                   // The number of keypoint values in the annotations before.
  std::vector<size_t> image_index_, annotation_index_;  // The positions in the file of the elements of out_.
  CocoAnnotations out_;
};

}  // namespace

CocoAnnotations read_coco(const fs::path& path, int joints, BadSamples* bad, const std::vector<int64_t>& categories) {
  return AnnotationReader(path, joints, bad, categories).read();
}

std::vector<CocoCategory> read_coco_categories(const fs::path& path) {
  return AnnotationReader(path, 0, nullptr, {}).read_only_categories();
}

Skeleton category_skeleton(std::span<const CocoCategory> categories, const std::string& path, int64_t category_id,
                           int* dropped_limbs) {
  const CocoCategory* chosen = nullptr;
  for (const CocoCategory& category : categories) {
    const bool asked = category_id == 0 || category.id == category_id;
    check(!asked || category.trouble.empty(), "{}: category {}: {}", path, category.id, category.trouble);
    if (category_id != 0 ? category.id != category_id : category.keypoints.empty()) continue;
    check(chosen == nullptr || chosen->keypoints == category.keypoints,
          "{}: categories {} and {} name different keypoints; choose one by its id", path, chosen ? chosen->id : 0,
          category.id);
    if (chosen == nullptr) chosen = &category;
  }
  check(chosen != nullptr && !chosen->keypoints.empty(),
        "{}: {} names no keypoints; give a skeleton file or the name of a built-in skeleton instead", path,
        category_id == 0 ? "no category" : fmt::format("category {}", category_id));
  return skeleton_from_names(chosen->keypoints, chosen->skeleton, fmt::format("{}: category {}", path, chosen->id),
                             dropped_limbs);
}

std::vector<CocoDetection> read_coco_detections(const fs::path& path) {
  Source in(path);
  if (in.json.kind() != Kind::list) {
    fail("{}: expected a list of results at the top, got {}", in.path(), in.got());
  }
  std::vector<CocoDetection> out;
  CocoDetection d;
  bool image_id = false, score = false, keypoints = false;
  const auto begin = [&] {
    d = {};
    image_id = score = keypoints = false;
  };
  const auto field = [&](std::string_view name) {
    if (name == "keypoints") {
      in.keypoints(d.keypoints);  // May contain NaN (from a diverged network); the evaluator has rules for it.
      keypoints = true;
    } else if (name == "image_id") {
      d.image_id = in.whole();
      image_id = true;
    } else if (name == "category_id") {
      d.category_id = in.whole();
    } else if (name == "score") {
      d.score = in.number();
      score = true;
    } else if (name == "bbox") {
      d.box = in.box();
      d.has_box = true;
    } else {
      in.json.skip();
    }
  };
  in.entries("", begin, field, [&] {
    in.require(image_id, "image_id");
    in.require(score, "score");
    const size_t n = d.keypoints.size();
    if (n % 3 != 0) fail("{}: {}: keypoints: expected x, y, score per joint, got {} numbers", in.path(), in.place(), n);
    if (keypoints && n == 0) fail("{}: {}: keypoints: the list is empty", in.path(), in.place());
    if (!d.has_box && n == 0) fail("{}: {}: neither \"bbox\" nor \"keypoints\"", in.path(), in.place());
    out.push_back(std::move(d));
  });
  in.json.finish();
  return out;
}

void write_coco(const fs::path& path, const CocoAnnotations& annotations) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  const auto key = [&](const char* name) { json.Key(name); };
  const auto text = [&](const std::string& s) { json.String(s.data(), static_cast<rapidjson::SizeType>(s.size())); };
  const auto number = [&](double v) {  // Writes 12 and not 12.0, because COCO's joints are whole numbers.
    check(std::isfinite(v), "{}: cannot write {} into an annotation file", path.string(), v);
    if (v == std::floor(v) && std::abs(v) < 0x1p53) {
      json.Int64(static_cast<int64_t>(v));
    } else {
      json.Double(v);
    }
  };
  json.StartObject();
  key("images");
  json.StartArray();
  for (const CocoImage& image : annotations.images) {
    json.StartObject();
    key("id");
    json.Int64(image.id);
    key("file_name");
    text(image.file_name);
    if (image.width > 0 && image.height > 0) {
      key("width");
      json.Int(image.width);
      key("height");
      json.Int(image.height);
    }
    if (image.crowd_index >= 0) {
      key("crowdIndex");
      number(image.crowd_index);
    }
    json.EndObject();
  }
  json.EndArray();
  key("annotations");
  json.StartArray();
  for (const CocoAnnotation& a : annotations.annotations) {
    json.StartObject();
    key("id");
    json.Int64(a.id);
    key("image_id");
    json.Int64(a.image_id);
    key("category_id");
    json.Int64(a.category_id);
    key("bbox");
    json.StartArray();
    for (const double v : {a.box.x, a.box.y, a.box.w, a.box.h}) number(v);
    json.EndArray();
    if (a.has_area) {
      key("area");
      number(a.area);
    }
    key("iscrowd");
    json.Int(a.iscrowd ? 1 : 0);
    if (!a.keypoints.empty()) {
      key("num_keypoints");
      json.Int(a.num_keypoints);
      key("keypoints");
      json.StartArray();
      for (const double v : a.keypoints) number(v);
      json.EndArray();
    }
    json.EndObject();
  }
  json.EndArray();
  key("categories");
  json.StartArray();
  for (const CocoCategory& category : annotations.categories) {
    json.StartObject();
    key("supercategory");
    text(category.name);
    key("id");
    json.Int64(category.id);
    key("name");
    text(category.name);
    key("keypoints");
    json.StartArray();
    for (const std::string& name : category.keypoints) text(name);
    json.EndArray();
    key("skeleton");
    json.StartArray();
    for (const auto& [a, b] : category.skeleton) {
      json.StartArray();
      json.Int(a);
      json.Int(b);
      json.EndArray();
    }
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  write_file(path, std::string_view(buffer.GetString(), buffer.GetSize()));
}

}  // namespace hr
