#include "data/coco.h"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "core/error.h"
#include "core/json_cursor.h"

namespace hr {
namespace {

using Kind = JsonCursor::Kind;

// A file of entries in lists, and where we are in it, for messages: "people.json: annotations[12] (id 5): bbox: ...".
class Source {
 public:
  explicit Source(const fs::path& path) : path_(path.string()), file_(path), json(file_.text(), path_) {}

  // Takes the list ahead: begin() before each entry, field(name) for each of its members (takes or skips the value),
  // end() after it.
  template <class Begin, class Field, class End>
  void entries(std::string_view section, const Begin& begin, const Field& field, const End& end) {
    section_ = section;
    index_ = 0;
    if (json.kind() != Kind::list) fail("{}: {}: expected a list, got {}", path_, section_, got());
    json.enter_list();
    for (; json.item(); ++index_) {
      has_id_ = false;
      if (json.kind() != Kind::object) fail("{}: {}: expected an object, got {}", path_, place(), got());
      json.enter_object();
      begin();
      for (std::string_view name; json.member(name);) {
        field_ = name;
        field(std::string_view(field_));
      }
      end();
      constexpr size_t step = size_t{4} << 20;
      if (json.offset() > released_ + step) file_.release(file_.bytes().first(released_ = json.offset()));
    }
  }

  // "annotations[12] (id 5)"
  std::string place() const {
    const std::string entry = fmt::format("{}[{}]", section_.empty() ? "entry " : section_, index_);
    return has_id_ ? fmt::format("{} (id {})", entry, id_) : entry;
  }
  // What stands ahead instead of what was expected.
  std::string got() {
    static constexpr const char* names[] = {"null", "true or false", "a number", "a string", "a list", "an object"};
    return names[static_cast<int>(json.kind())];
  }
  [[noreturn]] void wrong(std::string_view expected) {
    const std::string ahead = json.kind() == Kind::number ? fmt::format("{}", json.number().real) : got();
    fail("{}: {}: {}: expected {}, got {}", path_, place(), field_, expected, ahead);
  }
  [[noreturn]] void wrong(std::string_view expected, double found) const {
    fail("{}: {}: {}: expected {}, got {}", path_, place(), field_, expected, found);
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
  double number() {  // NaN and infinite ones too
    if (json.kind() != Kind::number) wrong("a number");
    return json.number().real;
  }
  double finite() {
    const double value = number();
    if (!std::isfinite(value)) wrong("a number", value);
    return value;
  }
  // A list of `expected` numbers.
  void numbers(std::vector<double>& out, bool all_finite, std::string_view expected) {
    if (json.kind() != Kind::list) wrong(expected);
    out.clear();
    out.reserve(usual_);
    if (!json.numbers(out)) wrong(json.kind() == Kind::list ? "numbers in the list" : "a number");
    if (!all_finite) return;
    for (const double value : out) {
      if (!std::isfinite(value)) wrong("a number", value);
    }
  }
  void keypoints(std::vector<double>& out, bool all_finite) {
    numbers(out, all_finite, "a list of numbers");
    usual_ = out.size();
  }
  Box box(bool all_finite = true) {
    std::vector<double>& v = scratch_;
    numbers(v, all_finite, "a list of 4 numbers");
    check(v.size() == 4, "{}: {}: bbox: expected 4 numbers (x, y, width, height), got {}", path_, place(), v.size());
    return {v[0], v[1], v[2], v[3]};
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
  size_t index_ = 0;  // of the entry
  int64_t id_ = 0;
  bool has_id_ = false;
  size_t released_ = 0;
  size_t usual_ = 0;  // numbers in a keypoint list: a vector that grows by doubling would keep the surplus
  std::vector<double> scratch_;
};

// Ids with the place they came from, to find doubles and to look up.
class Ids {
 public:
  void add(int64_t id) { all_.emplace_back(id, all_.size()); }
  // Error when two entries have the same id, naming the first that repeats one.
  void sort(const std::string& path, const char* section) {
    std::sort(all_.begin(), all_.end());
    size_t again = all_.size();
    for (size_t i = 1; i < all_.size(); ++i) {
      if (all_[i].first == all_[i - 1].first && (again == all_.size() || all_[i].second < all_[again].second))
        again = i;
    }
    if (again < all_.size()) {
      fail("{}: {}[{}] (id {}): the id is already used by {}[{}]", path, section, all_[again].second, all_[again].first,
           section, all_[again - 1].second);
    }
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
  AnnotationReader(const fs::path& path, int joints, BadSamples* bad) : in_(path), joints_(joints), bad_(bad) {
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
    Ids image_ids, annotation_ids;
    for (const CocoImage& image : out_.images) image_ids.add(image.id);
    for (const CocoAnnotation& a : out_.annotations) annotation_ids.add(a.id);
    image_ids.sort(in_.path(), "images");
    annotation_ids.sort(in_.path(), "annotations");
    for (size_t i = 0; i < out_.annotations.size(); ++i) {
      const CocoAnnotation& a = out_.annotations[i];
      check(image_ids.contains(a.image_id), "{}: annotations[{}] (id {}): image_id {} is not among the {} images",
            in_.path(), i, a.id, a.image_id, out_.images.size());
    }
    return std::move(out_);
  }

 private:
  int side() {
    const int64_t pixels = in_.whole();
    if (pixels < 1 || pixels > std::numeric_limits<int>::max()) {
      in_.wrong("a size in pixels", static_cast<double>(pixels));
    }
    return static_cast<int>(pixels);
  }

  void read_images() {
    CocoImage image;
    bool id = false;
    const auto begin = [&] {
      image = {};
      id = false;
    };
    const auto field = [&](std::string_view name) {
      if (name == "id") {
        image.id = in_.id();
        id = true;
      } else if (name == "file_name") {
        if (in_.json.kind() != Kind::string) in_.wrong("a file name");
        image.file_name = in_.json.string();
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
    in_.entries("images", begin, field, [&] {
      in_.require(id, "id");
      in_.require(!image.file_name.empty(), "file_name");
      out_.images.push_back(std::move(image));
    });
  }

  void read_annotations() {
    CocoAnnotation a;
    bool id = false, image_id = false, bbox = false, num_keypoints = false;
    // COCO-WholeBody: the parts after the body, in the order of its joints.
    std::array<std::vector<double>, 4> parts;
    std::array<bool, 4> valid{};
    const auto begin = [&] {
      a = {};
      a.has_area = false;
      a.lacks = coco_field::area | coco_field::iscrowd | coco_field::num_keypoints | coco_field::category;
      for (auto& part : parts) part.clear();
      valid.fill(true);
      id = image_id = bbox = num_keypoints = false;
    };
    const auto field = [&](std::string_view name) {
      if (name == "keypoints") {
        in_.keypoints(a.keypoints, bad_ == nullptr);
      } else if (name == "id") {
        a.id = in_.id();
        id = true;
      } else if (name == "image_id") {
        a.image_id = in_.whole();
        image_id = true;
      } else if (name == "category_id") {
        a.category_id = in_.whole();
        a.lacks &= ~coco_field::category;
      } else if (name == "bbox") {
        a.box = in_.box(bad_ == nullptr);
        bbox = true;
      } else if (name == "area") {
        a.area = in_.finite();
        a.has_area = true;
        a.lacks &= ~coco_field::area;
      } else if (name == "iscrowd") {
        if (in_.json.kind() != Kind::boolean && in_.json.kind() != Kind::number) in_.wrong("0 or 1");
        a.iscrowd = in_.json.kind() == Kind::boolean ? in_.json.boolean() : in_.whole() != 0;
        a.lacks &= ~coco_field::iscrowd;
      } else if (name == "num_keypoints") {
        const int64_t n = in_.whole();
        if (n < 0 || n > 1000000) in_.wrong("a number of joints", static_cast<double>(n));
        a.num_keypoints = static_cast<int>(n);
        num_keypoints = true;
        a.lacks &= ~coco_field::num_keypoints;
      } else if (const auto [part, is_valid] = part_of(name); part >= 0 && joints_ != 0) {
        if (!is_valid) {
          in_.numbers(parts[part], bad_ == nullptr, "a list of numbers");
        } else {
          if (in_.json.kind() != Kind::boolean && in_.json.kind() != Kind::number) in_.wrong("true or false");
          valid[part] = in_.json.kind() == Kind::boolean ? in_.json.boolean() : in_.whole() != 0;
        }
      } else {
        in_.json.skip();
      }
    };
    in_.entries("annotations", begin, field, [&] {
      in_.require(id, "id");
      in_.require(image_id, "image_id");
      in_.require(bbox, "bbox");
      append_parts(a, parts, valid);
      if (const std::string why = trouble(a); !why.empty()) {
        if (bad_ == nullptr) fail("{}: {}: {}", in_.path(), in_.place(), why);
        bad_->add({BadSamples::Kind::annotation, a.id, fmt::format("{}: {}: {}", in_.path(), in_.place(), why), 1});
        return;
      }
      if (!a.has_area) a.area = a.box.w * a.box.h;
      if (!num_keypoints) {
        for (size_t i = 2; i < a.keypoints.size(); i += 3) a.num_keypoints += static_cast<int>(a.keypoints[i] > 0);
      }
      out_.annotations.push_back(std::move(a));
    });
  }

  // {0..3, false} for a part's list, {0..3, true} for whether it is valid, {-1, false} for any other field.
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
        // Some of these lists have confidences for visibilities.
        if (k % 3 == 2 && std::isfinite(value)) value = value <= 0 || !valid[i] ? 0 : value < 1.5 ? 1 : 2;
        a.keypoints.push_back(value);
      }
    }
  }

  // What is wrong with the numbers of an annotation, or nothing.
  std::string trouble(const CocoAnnotation& a) {
    for (const double v : {a.box.x, a.box.y, a.box.w, a.box.h}) {
      if (!std::isfinite(v)) return fmt::format("bbox: expected a number, got {}", v);
    }
    const size_t n = a.keypoints.size();
    if (n == 0) {
      // Crowds and other categories may do without; a person may not when the caller needs joints.
      if (joints_ == 0 || a.iscrowd || a.category_id != 1) return {};
      return fmt::format(
          "no keypoints; expected {} ({} joints x 3). Is this an instances file instead of person_keypoints?",
          3 * joints_, joints_);
    }
    if (joints_ != 0 && n != static_cast<size_t>(joints_) * 3) {
      return fmt::format("keypoints: expected {} numbers ({} joints x 3), got {}; does --num-joints fit this file?",
                         3 * joints_, joints_, n);
    }
    if (n % 3 != 0) return fmt::format("keypoints: expected x, y, v per joint, got {} numbers", n);
    for (const double v : a.keypoints) {
      if (!std::isfinite(v)) return fmt::format("keypoints: expected a number, got {}", v);
    }
    if (common_ == 0) common_ = n;
    if (n != common_) {
      return fmt::format("keypoints: expected {} numbers as in the annotations before, got {}", common_, n);
    }
    return {};
  }

  void read_categories() {
    CocoCategory category;
    const auto begin = [&] { category = {}; };
    const auto field = [&](std::string_view name) {
      if (name == "id") {
        category.id = in_.id();
      } else if (name == "name") {
        if (in_.json.kind() != Kind::string) in_.wrong("a string");
        category.name = in_.json.string();
      } else if (name == "keypoints") {
        if (in_.json.kind() != Kind::list) in_.wrong("a list");
        for (in_.json.enter_list(); in_.json.item();) {
          if (in_.json.kind() != Kind::string) in_.wrong("names in the list");
          category.keypoints.emplace_back(in_.json.string());
        }
      } else if (name == "skeleton") {
        if (in_.json.kind() != Kind::list) in_.wrong("a list of pairs");
        for (in_.json.enter_list(); in_.json.item();) category.skeleton.push_back(limb());
      } else {
        in_.json.skip();
      }
    };
    in_.entries("categories", begin, field, [&] { out_.categories.push_back(std::move(category)); });
  }

  std::pair<int, int> limb() {
    if (in_.json.kind() != Kind::list) in_.wrong("pairs of joints in the list");
    std::array<int64_t, 2> joint{};
    size_t n = 0;
    for (in_.json.enter_list(); in_.json.item(); ++n) {
      const int64_t k = in_.whole();
      if (n > 1 || k < 0 || k > 1000000) in_.wrong("pairs of joints", static_cast<double>(k));
      joint.at(n) = k;
    }
    check(n == 2, "{}: {}: skeleton: expected pairs of joints, got {} number(s)", in_.path(), in_.place(), n);
    return {static_cast<int>(joint[0]), static_cast<int>(joint[1])};
  }

  Source in_;
  int joints_;
  BadSamples* bad_;
  size_t common_ = 0;  // keypoint numbers of the annotations before
  CocoAnnotations out_;
};

}  // namespace

CocoAnnotations read_coco(const fs::path& path, int joints, BadSamples* bad) {
  return AnnotationReader(path, joints, bad).read();
}

std::vector<CocoCategory> read_coco_categories(const fs::path& path) {
  return AnnotationReader(path, 0, nullptr).read_only_categories();
}

Skeleton category_skeleton(std::span<const CocoCategory> categories, const std::string& path, int64_t category_id,
                           int* dropped_limbs) {
  const CocoCategory* chosen = nullptr;
  for (const CocoCategory& category : categories) {
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
      in.keypoints(d.keypoints, false);  // may hold NaN (a diverged network): the evaluator has rules for it
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
  const auto number = [&](double v) {  // 12 rather than 12.0: COCO's joints are whole numbers
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
