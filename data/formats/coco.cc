#include "data/formats/coco.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "data/formats/strict_entries.h"

namespace hr {
namespace {

using Kind = JsonCursor::Kind;

class AnnotationReader {
 public:
  AnnotationReader(const fs::path& path, int joints, BadSamples* bad, std::vector<int64_t> categories)
      : in_(path), joints_(joints), bad_(bad), categories_(std::move(categories)) {
    out_.path = in_.path();
  }

  std::vector<CocoCategory> read_only_categories() {
    in_.sections("categories", [&](std::string_view section) {
      if (section != "categories") return false;
      read_categories();
      return true;
    });
    return std::move(out_.categories);
  }

  CocoAnnotations read() {
    bool images = false, annotations = false;
    in_.sections("images and annotations", [&](std::string_view section) {
      if (section == "images") return read_images(), images = true;
      if (section == "annotations") return read_annotations(), annotations = true;
      if (section == "categories") return read_categories(), true;
      return false;
    });
    check(images, "{}: no \"images\"; expected a COCO person_keypoints file", in_.path());
    check(annotations, "{}: no \"annotations\"; expected a COCO person_keypoints file", in_.path());
    check_ids();
    return std::move(out_);
  }

 private:
  // Handles an entry that cannot be used: throws Error, or records the entry and leaves it out. An entry without a
  // usable id is identified by a negative number that gives its position in the file.
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
      EntryIds ids;
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
    const EntryIds images = once(out_.images, image_index_, BadSamples::Kind::picture, "images");
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
      if (!why.empty()) return leave_out(BadSamples::Kind::picture, id, in_.index(), in_.place().text(), why);
      out_.images.push_back(std::move(image));
      image_index_.push_back(in_.index());
    };
    in_.entries("images", begin, field, end, wrong);
  }

  // An entry of "annotations" while it is being read.
  struct PersonEntry {
    CocoAnnotation a;
    std::optional<int64_t> id;
    bool image_id = false, bbox = false, num_keypoints = false;
    std::string why, why_no_box, why_no_joints;  // The first problem of each kind.
    // COCO-WholeBody: the parts after the body, in the order of the joints.
    std::array<std::vector<double>, 4> parts;
    std::array<bool, 4> valid{};

    // Keeps the memory of the lists.
    void begin() {
      a = {};
      a.has_area = false;
      a.lacks = coco_field::area | coco_field::iscrowd | coco_field::num_keypoints | coco_field::category;
      for (auto& part : parts) part.clear();
      valid.fill(true);
      id.reset();
      image_id = bbox = num_keypoints = false;
      for (std::string* text : {&why, &why_no_box, &why_no_joints}) text->clear();
    }
  };

  void read_annotations() {
    PersonEntry e;
    const auto wrong = [&](std::string_view name, const std::string& trouble) {
      std::string& text = name == "bbox"                                    ? e.why_no_box
                          : name == "keypoints" || part_of(name).first >= 0 ? e.why_no_joints
                                                                            : e.why;
      if (text.empty()) text = trouble;
    };
    in_.entries(
        "annotations", [&] { e.begin(); }, [&](std::string_view name) { take_field(e, name); },
        [&] { end_annotation(e); }, wrong);
  }

  void take_field(PersonEntry& e, std::string_view name) {
    CocoAnnotation& a = e.a;
    if (name == "keypoints") {
      in_.keypoints(a.keypoints);
    } else if (name == "id") {
      e.id = a.id = in_.id();
    } else if (name == "image_id") {
      a.image_id = in_.whole();
      e.image_id = true;
    } else if (name == "category_id") {
      a.category_id = in_.whole();
      a.lacks &= ~coco_field::category;
    } else if (name == "bbox") {
      e.bbox = true;
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
      e.num_keypoints = true;
      a.lacks &= ~coco_field::num_keypoints;
    } else if (const auto [part, is_valid] = part_of(name); part >= 0 && joints_ != 0) {
      if (is_valid) {
        e.valid[part] = in_.yes_or_no();
      } else {
        in_.numbers(e.parts[part], "a list of numbers");
      }
    } else {
      in_.json.skip();
    }
  }

  void end_annotation(PersonEntry& e) {
    CocoAnnotation& a = e.a;
    std::string& why = e.why;
    if (why.empty() && !e.id) why = "no \"id\"";
    if (why.empty() && !e.image_id) why = "no \"image_id\"";
    if (why.empty()) {
      append_parts(a, e.parts, e.valid);
      forget_unlabelled(a);
      if (e.why_no_box.empty() && !e.bbox) e.why_no_box = "no \"bbox\"";
      if (e.why_no_joints.empty()) e.why_no_joints = trouble(a);
      // Training uses neither the boxes nor the joints of other categories, and no joints of crowds.
      const bool kept = joints_ == 0 || keeps(a.category_id);
      if (!kept || (joints_ != 0 && a.iscrowd)) {
        if (!e.why_no_joints.empty()) a.keypoints.clear();
      } else {
        why = e.why_no_joints;
      }
      if (kept && !e.why_no_box.empty()) why = e.why_no_box;
    }
    if (!why.empty()) return leave_out(BadSamples::Kind::annotation, e.id, in_.index(), in_.place().text(), why);
    if (common_ == 0) common_ = a.keypoints.size();
    if (!a.has_area) a.area = a.box.w * a.box.h;
    if (!e.num_keypoints) {
      for (size_t i = 2; i < a.keypoints.size(); i += 3) a.num_keypoints += static_cast<int>(a.keypoints[i] > 0);
    }
    out_.annotations.push_back(std::move(a));
    annotation_index_.push_back(in_.index());
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
      // If the caller needs joints, a person must have some. If all categories are kept, some of them may have none.
      if (joints_ == 0 || categories_.empty()) return {};
      return fmt::format("no keypoints; expected {} ({} joints x 3)", 3 * joints_, joints_);
    }
    if (joints_ != 0 && n != static_cast<size_t>(joints_) * 3) {
      return fmt::format("keypoints: expected {} numbers ({} joints x 3), got {}; does `joints` fit this file?",
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

  // Only the id of a category is always needed. Problems with the other fields are recorded and concern only callers
  // that need the skeleton of the category.
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

  StrictEntries in_;
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

}  // namespace hr
