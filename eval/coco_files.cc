#include "eval/coco_files.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/io/json_cursor.h"
#include "data/formats/entry_file.h"

namespace hr {
namespace {

using Kind = EntryFile::Kind;

// Entries as pycocotools takes them: a value that it would not read may be of any type.
class Entries final : public EntryFile {
 public:
  using EntryFile::EntryFile;

  template <class Begin, class Field, class End>
  void list(std::string_view section, const Begin& begin, const Field& field_of, const End& end) {
    const auto attempt = [&](std::string_view name) {
      try {
        field_of(name);
      } catch (const WrongValue& wrong) {
        fail("{}: {}", place(), wrong.why);
      }
    };
    EntryFile::list(section, begin, attempt, end, [&](const std::string& why) { fail("{}: {}", place(), why); });
  }

  // For example "people.json: annotations[12] (id 5)" or "results.json: entry [3]".
  EntryPlace place() const { return {*this, true}; }

  // Takes the next number (true and false are 1 and 0, as in Python); for another value returns nothing and skips it.
  std::optional<double> number() {
    if (json.kind() == Kind::number) return json.number().real;
    if (json.kind() == Kind::boolean) return json.boolean() ? 1 : 0;
    json.skip();
    return std::nullopt;
  }
  // Takes the numbers of the next list. Returns false if the value is not a list or contains anything else.
  bool numbers(std::vector<double>& out) {
    out.clear();
    if (json.kind() != Kind::list) {
      json.skip();
      return false;
    }
    out.reserve(usual_);
    const size_t start = json.offset();
    if (json.numbers(out)) {
      usual_ = std::max(usual_, out.size());
      return true;
    }
    out.clear();
    json.back_to(start);
    bool all = true;
    json.enter_list();
    while (json.item()) {
      if (const Kind kind = json.kind(); kind != Kind::number && kind != Kind::boolean && all) strange_ = got();
      const std::optional<double> v = number();
      all = all && v.has_value();
      out.push_back(v.value_or(0));
    }
    usual_ = std::max(usual_, out.size());
    return all;
  }
  // What the last list contained that was not a number.
  const std::string& strange() const { return strange_; }
  void triples(const std::vector<double>& keypoints, std::string_view third) const {
    check(keypoints.size() % 3 == 0, "{}: keypoints: expected x, y, {} per joint, got {} numbers", place(), third,
          keypoints.size());
  }

 private:
  std::string strange_;
  size_t usual_ = 0;
};

// Throws Error if two entries have the same id; it names the first one that repeats an id.
template <class Entry>
void check_ids(const std::vector<Entry>& entries, const std::string& path, const char* section) {
  EntryIds ids;
  for (const Entry& entry : entries) ids.add(entry.id);
  const std::vector<std::pair<size_t, size_t>> repeated = ids.sort();
  if (repeated.empty()) return;
  const auto [again, first] = *std::min_element(repeated.begin(), repeated.end());
  fail("{}: {}[{}] (id {}): the id is already used by {}[{}]", path, section, again, entries[again].id, section, first);
}

class TruthReader {
 public:
  explicit TruthReader(const fs::path& path) : in_(path) { out_.path = in_.path(); }

  CocoAnnotations read(bool truth) {
    bool images = false, annotations = false;
    in_.sections("images and annotations", [&](std::string_view section) {
      if (section == "images") return read_images(), images = true;
      if (section == "annotations") return read_annotations(), annotations = true;
      if (section == "categories") return read_categories(), true;
      return false;
    });
    check(images, "{}: no \"images\"; expected a COCO person_keypoints file", in_.path());
    check(annotations || !truth,
          "{}: no \"annotations\"; expected a COCO person_keypoints file (a list of images alone, such as "
          "image_info_test-dev2017.json, has nothing to compare results with: the evaluation server does that)",
          in_.path());
    check_ids(out_.images, in_.path(), "images");
    check_ids(out_.annotations, in_.path(), "annotations");
    return std::move(out_);
  }

 private:
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
      } else if (name == "file_name" && in_.json.kind() == Kind::string) {
        image.file_name = in_.json.string();
      } else if (name == "width") {
        image.width = side();
      } else if (name == "height") {
        image.height = side();
      } else if (name == "crowdIndex") {
        image.crowd_index = in_.number().value_or(-1);
      } else {
        in_.json.skip();
      }
    };
    in_.list("images", begin, field, [&] {
      check(id, "{}: no \"id\"", in_.place());
      out_.images.push_back(std::move(image));
    });
  }

  int side() {
    const double v = in_.number().value_or(0);
    return v >= 1 && v <= std::numeric_limits<int>::max() ? static_cast<int>(v) : 0;
  }

  void read_annotations() {
    CocoAnnotation a;
    bool id = false, image_id = false;
    std::vector<double> box;
    const auto begin = [&] {
      a = {};
      a.has_area = false;
      a.lacks = coco_field::area | coco_field::iscrowd | coco_field::num_keypoints | coco_field::category |
                coco_field::box | coco_field::keypoints;
      id = image_id = false;
    };
    const auto has = [&](uint8_t field) { a.lacks &= static_cast<uint8_t>(~field); };
    const auto field = [&](std::string_view name) {
      if (name == "id") {
        a.id = in_.id();
        id = true;
      } else if (name == "image_id") {
        a.image_id = in_.whole();
        image_id = true;
      } else if (name == "category_id") {
        a.category_id = in_.whole();
        has(coco_field::category);
      } else if (name == "keypoints") {
        if (in_.numbers(a.keypoints)) has(coco_field::keypoints);
      } else if (name == "bbox") {
        if (in_.numbers(box) && box.size() >= 4) {
          a.box = {box[0], box[1], box[2], box[3]};
          has(coco_field::box);
        }
      } else if (name == "area") {
        if (const auto v = in_.number()) {
          a.area = *v;
          a.has_area = true;
          has(coco_field::area);
        }
      } else if (name == "iscrowd") {
        if (const auto v = in_.number()) {
          a.iscrowd = *v != 0;
          has(coco_field::iscrowd);
        }
      } else if (name == "num_keypoints") {
        // pycocotools only tests whether it is 0, which null is not.
        const bool null = in_.json.kind() == Kind::null;
        const auto v = in_.number();
        if (v || null) {
          a.num_keypoints = v && std::abs(*v) < 1e6 ? static_cast<int>(std::ceil(std::abs(*v))) : 1;
          has(coco_field::num_keypoints);
        }
      } else {
        in_.json.skip();
      }
    };
    in_.list("annotations", begin, field, [&] {
      check(id, "{}: no \"id\"", in_.place());
      check(image_id, "{}: no \"image_id\"", in_.place());
      if ((a.lacks & coco_field::keypoints) != 0) a.keypoints.clear();
      in_.triples(a.keypoints, "v");
      if (!a.has_area) a.area = a.box.w * a.box.h;
      if ((a.lacks & coco_field::num_keypoints) != 0) {
        for (size_t i = 2; i < a.keypoints.size(); i += 3) a.num_keypoints += a.keypoints[i] > 0 ? 1 : 0;
      }
      out_.annotations.push_back(std::move(a));
    });
  }

  void read_categories() {
    CocoCategory category;
    bool id = false;
    std::vector<double> limb;
    const auto begin = [&] {
      category = {};
      id = false;
    };
    const auto field = [&](std::string_view name) {
      const Kind kind = in_.json.kind();
      if (name == "id") {
        category.id = in_.id();
        id = true;
      } else if (name == "name" && kind == Kind::string) {
        category.name = in_.json.string();
      } else if (name == "keypoints" && kind == Kind::list) {
        bool all = true;
        for (in_.json.enter_list(); in_.json.item();) {
          if (in_.json.kind() == Kind::string) {
            category.keypoints.emplace_back(in_.json.string());
          } else {
            in_.json.skip();
            all = false;
          }
        }
        if (!all) category.keypoints.clear();
      } else if (name == "skeleton" && kind == Kind::list) {
        for (in_.json.enter_list(); in_.json.item();) {
          if (in_.numbers(limb) && limb.size() == 2 && limb[0] >= 0 && limb[0] <= 1e6 && limb[1] >= 0 &&
              limb[1] <= 1e6) {
            category.skeleton.emplace_back(static_cast<int>(limb[0]), static_cast<int>(limb[1]));
          }
        }
      } else {
        in_.json.skip();
      }
    };
    in_.list("categories", begin, field, [&] {
      check(id, "{}: no \"id\"", in_.place());
      out_.categories.push_back(std::move(category));
    });
  }

  Entries in_;
  CocoAnnotations out_;
};

}  // namespace

CocoAnnotations read_truth(const fs::path& path) { return TruthReader(path).read(true); }
CocoAnnotations read_image_list(const fs::path& path) { return TruthReader(path).read(false); }

bool has_annotations(const fs::path& path) {
  const MappedFile file(path);
  JsonCursor json(file.text(), path.string());
  if (json.kind() != Kind::object) return true;  // read_coco reports what is wrong.
  json.enter_object();
  bool images = false;
  for (std::string_view section; json.member(section); json.skip()) {
    if (section == "annotations") return true;
    images = images || section == "images";
  }
  return !images;
}

std::vector<CocoDetection> read_results(const fs::path& path) {
  Entries in(path);
  if (in.json.kind() != Kind::list) {
    fail("{}: expected a list of results at the top, got {}", in.path(), in.got());
  }
  std::vector<CocoDetection> out;
  CocoDetection d;
  std::vector<double> box;
  bool image_id = false, segmentation = false, caption = false;
  const auto begin = [&] {
    d = {};
    d.lacks = coco_field::category | coco_field::keypoints | coco_field::score;
    image_id = segmentation = caption = false;
  };
  const auto field = [&](std::string_view name) {
    if (name == "keypoints") {
      if (in.json.kind() != Kind::list) in.wrong("a list of numbers");
      check(in.numbers(d.keypoints), "{}: keypoints: expected numbers in the list, got {}", in.place(), in.strange());
      d.lacks &= static_cast<uint8_t>(~coco_field::keypoints);
    } else if (name == "image_id") {
      d.image_id = in.whole();
      image_id = true;
    } else if (name == "category_id") {
      d.category_id = in.whole();
      d.lacks &= static_cast<uint8_t>(~coco_field::category);
    } else if (name == "score") {
      if (const auto v = in.number()) {
        d.score = *v;
        d.lacks &= static_cast<uint8_t>(~coco_field::score);
      }
    } else if (name == "bbox") {
      if (in.json.kind() == Kind::null && !out.empty()) {
        in.json.skip();
        return;
      }
      if (in.json.kind() != Kind::list) in.wrong("a list of 4 numbers");
      const bool all = in.numbers(box);
      if (box.empty()) return;
      check(all && box.size() >= 4 && std::isfinite(box[0] + box[1] + box[2] + box[3]),
            "{}: bbox: expected 4 numbers (x, y, width, height), got {}", in.place(),
            !all             ? in.strange()
            : box.size() < 4 ? fmt::format("{}", box.size())
                             : "numbers that are not finite");
      d.box = {box[0], box[1], box[2], box[3]};
      d.has_box = true;
    } else {
      segmentation = segmentation || name == "segmentation";
      caption = caption || name == "caption";
      in.json.skip();
    }
  };
  in.list("", begin, field, [&] {
    check(image_id, "{}: no \"image_id\"", in.place());
    in.triples(d.keypoints, "score");
    check((d.lacks & coco_field::keypoints) != 0 || !d.keypoints.empty(), "{}: keypoints: the list is empty",
          in.place());
    check(d.has_box || !d.keypoints.empty(), "{}: neither \"bbox\" nor \"keypoints\"", in.place());
    if (out.empty()) {
      check(!caption, "{}: has a \"caption\"; these are not results of poses", in.place());
      check(!segmentation || d.has_box,
            "{}: has a \"segmentation\" and no \"bbox\", so that pycocotools takes the detections' areas from masks; "
            "leave \"segmentation\" out, or give every entry a bbox",
            in.place());
    }
    out.push_back(std::move(d));
  });
  in.json.finish();
  return out;
}

}  // namespace hr
