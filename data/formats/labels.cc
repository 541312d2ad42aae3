#include "data/formats/labels.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "core/io/json.h"
#include "data/formats/labels_json.h"

namespace hr {
namespace {

using labels::LabelledPicture;
using labels::Thing;

Box box_of(const Thing& thing, const CocoImage& image) {
  if (thing.box) return *thing.box;
  double x0 = INFINITY, y0 = INFINITY, x1 = -INFINITY, y1 = -INFINITY;
  for (const auto& [name, p] : thing.points) {
    x0 = std::min(x0, p.x), x1 = std::max(x1, p.x);
    y0 = std::min(y0, p.y), y1 = std::max(y1, p.y);
  }
  const double margin = 0.1 * std::max({x1 - x0, y1 - y0, 10.0});
  x0 = std::max(0.0, x0 - margin), y0 = std::max(0.0, y0 - margin);
  return {x0, y0, std::min<double>(image.width, x1 + margin) - x0, std::min<double>(image.height, y1 + margin) - y0};
}

// Names of `names` that `others` lacks, sorted.
std::vector<std::string> missing_from(const std::set<std::string>& names, const std::vector<std::string>& others) {
  std::vector<std::string> out;
  for (const std::string& name : names) {
    if (std::find(others.begin(), others.end(), name) == others.end()) out.push_back(name);
  }
  return out;
}

Labels coco_of(const fs::path& path, std::vector<LabelledPicture> pictures, const LabelOptions& o) {
  std::set<std::string> found;
  for (const LabelledPicture& picture : pictures) {
    for (const Thing& thing : picture.things) {
      for (const auto& [name, point] : thing.points) found.insert(name);
    }
  }
  check(!found.empty(), "{}: no point is labelled in this export", path.string());
  const std::vector<std::string> joints = o.joints.empty() ? std::vector(found.begin(), found.end()) : o.joints;
  Labels out;
  out.left_out = missing_from(found, joints);
  out.unlabelled = missing_from({joints.begin(), joints.end()}, {found.begin(), found.end()});
  out.coco.path = path.string();
  out.coco.categories = {{.id = 1, .name = o.category, .keypoints = joints, .skeleton = {}}};
  for (LabelledPicture& picture : pictures) {
    CocoImage& image = picture.image;
    image.id = static_cast<int64_t>(out.coco.images.size()) + 1;
    for (const Thing& thing : picture.things) {
      CocoAnnotation a;
      a.keypoints.reserve(3 * joints.size());
      for (const std::string& joint : joints) {
        const auto at = thing.points.find(joint);
        const labels::Point p = at == thing.points.end() ? labels::Point{} : at->second;
        a.keypoints.insert(a.keypoints.end(), {p.x, p.y, static_cast<double>(p.visibility)});
        a.num_keypoints += p.visibility > 0 ? 1 : 0;
      }
      if (a.num_keypoints == 0) continue;
      a.id = static_cast<int64_t>(out.coco.annotations.size()) + 1;
      a.image_id = image.id;
      a.box = box_of(thing, image);
      a.area = a.box.w * a.box.h;
      out.coco.annotations.push_back(std::move(a));
    }
    out.coco.images.push_back(std::move(image));
  }
  check(!out.coco.annotations.empty(), "{}: nobody has one of the joints {}; the labels are called {}", path.string(),
        fmt::join(joints, ", "), fmt::join(found, ", "));
  return out;
}

// Brings the joints of a COCO file into the order of `joints`. A joint that the file does not know is nobody's.
void reorder(CocoAnnotations& coco, const std::vector<std::string>& joints) {
  CocoCategory& category = coco.categories[0];
  const auto place = [](const std::vector<std::string>& names, const std::string& name) {
    const auto at = std::find(names.begin(), names.end(), name);
    return at == names.end() ? -1 : static_cast<int>(at - names.begin());
  };
  for (CocoAnnotation& a : coco.annotations) {
    std::vector<double> moved(3 * joints.size(), 0);
    a.num_keypoints = 0;
    for (size_t k = 0; k < joints.size(); ++k) {
      const int from = place(category.keypoints, joints[k]);
      if (from < 0) continue;
      std::copy_n(a.keypoints.begin() + 3 * from, 3, moved.begin() + 3 * static_cast<std::ptrdiff_t>(k));
      a.num_keypoints += moved[3 * k + 2] > 0 ? 1 : 0;
    }
    a.keypoints = std::move(moved);
  }
  std::erase_if(coco.annotations, [](const CocoAnnotation& a) { return a.num_keypoints == 0; });
  std::vector<std::pair<int, int>> limbs;
  for (const auto& [a, b] : category.skeleton) {
    const auto moved = [&](int joint) {
      const auto old = static_cast<size_t>(joint - 1);
      return old < category.keypoints.size() ? place(joints, category.keypoints[old]) : -1;
    };
    if (moved(a) >= 0 && moved(b) >= 0) limbs.emplace_back(moved(a) + 1, moved(b) + 1);
  }
  category.skeleton = std::move(limbs);
  category.keypoints = joints;
}

Labels from_coco(const fs::path& path, const LabelOptions& o) {
  Labels out;
  out.coco = read_coco(path, 0, nullptr, {});
  std::vector<std::string> with_joints;
  std::vector<CocoCategory> own;
  for (const CocoCategory& category : out.coco.categories) {
    if (category.keypoints.empty()) continue;
    own.push_back(category);
    with_joints.push_back(category.name);
  }
  check(own.size() == 1, "{}: {} categories have keypoints, expected one{}", path.string(), own.size(),
        own.empty() ? "; draw skeletons, not single points or boxes"
                    : fmt::format(": {}; export one kind at a time", fmt::join(with_joints, ", ")));
  std::erase_if(out.coco.annotations,
                [&](const CocoAnnotation& a) { return a.category_id != own[0].id || a.keypoints.empty(); });
  for (CocoAnnotation& a : out.coco.annotations) {
    a.category_id = 1;
    if (!a.has_area || a.area == 0) a.area = a.box.w * a.box.h;
    a.has_area = true;
    a.num_keypoints = 0;
    for (size_t k = 2; k < a.keypoints.size(); k += 3) a.num_keypoints += a.keypoints[k] > 0 ? 1 : 0;
    check(a.keypoints.size() == 3 * own[0].keypoints.size(),
          "{}: annotation {}: expected {} numbers in keypoints for the {} joints of \"{}\", got {}", path.string(),
          a.id, 3 * own[0].keypoints.size(), own[0].keypoints.size(), own[0].name, a.keypoints.size());
  }
  own[0].id = 1;
  out.coco.categories = own;
  if (!o.joints.empty()) {
    const std::set<std::string> found(own[0].keypoints.begin(), own[0].keypoints.end());
    out.left_out = missing_from(found, o.joints);
    out.unlabelled = missing_from({o.joints.begin(), o.joints.end()}, own[0].keypoints);
    reorder(out.coco, o.joints);
  }
  check(!out.coco.annotations.empty(), "{}: no annotation of \"{}\" has joints{}", path.string(), own[0].name,
        o.joints.empty() ? "" : fmt::format(" named {}", fmt::join(o.joints, ", ")));
  return out;
}

}  // namespace

Labels read_labels(const fs::path& path, const LabelOptions& options) {
  if (fs::is_directory(path)) return coco_of(path, labels::read_labelme(path), options);
  const MappedFile file(path);
  const std::string_view text = json_text(file.text(), path.string());
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] == '[') {
    return coco_of(path, labels::read_label_studio(path), options);
  }
  check(text.find("\"shapes\"") == std::string_view::npos || text.find("\"annotations\"") != std::string_view::npos,
        "{}: is a file of labelme; name the folder that holds its files", path.string());
  return from_coco(path, options);
}

LabelSplit split_labels(const CocoAnnotations& annotations, int val_every) {
  const size_t n = annotations.images.size();
  check_field(val_every >= 2 && static_cast<size_t>(val_every) <= n, "val_every",
              "{}: this splits {} pictures so that one part is empty; expected 2 to {}", val_every, n, n);
  std::vector<const CocoImage*> sorted;
  sorted.reserve(n);
  for (const CocoImage& image : annotations.images) sorted.push_back(&image);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const CocoImage* a, const CocoImage* b) { return a->file_name < b->file_name; });
  LabelSplit out;
  std::map<int64_t, CocoAnnotations*> part_of;
  for (CocoAnnotations* part : {&out.train, &out.val}) {
    part->path = annotations.path;
    part->categories = annotations.categories;
  }
  for (size_t i = 0; i < n; ++i) {
    CocoAnnotations& part = (i + 1) % static_cast<size_t>(val_every) == 0 ? out.val : out.train;
    part.images.push_back(*sorted[i]);
    part_of[sorted[i]->id] = &part;
  }
  for (const CocoAnnotation& a : annotations.annotations) {
    if (const auto part = part_of.find(a.image_id); part != part_of.end()) part->second->annotations.push_back(a);
  }
  return out;
}

}  // namespace hr
