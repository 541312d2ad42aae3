#include "eval/coco_setup.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "core/error.h"
#include "data/formats/skeleton.h"
#include "eval/selection.h"

namespace hr {
namespace {

// Returns the position in a sorted list, -1 if it is not there. Neighbouring entries of a file mostly belong to the
// same picture, so the last position is tried first.
class Position {
 public:
  explicit Position(const std::vector<int64_t>& sorted) : sorted_(sorted) {}
  int operator()(int64_t id) {
    if (last_ < 0 || sorted_[last_] != id) {
      const auto at = std::lower_bound(sorted_.begin(), sorted_.end(), id);
      if (at == sorted_.end() || *at != id) return -1;
      last_ = static_cast<int>(at - sorted_.begin());
    }
    return last_;
  }

 private:
  const std::vector<int64_t>& sorted_;
  int last_ = -1;
};

bool any_third_value(const std::vector<double>& keypoints) {
  for (size_t i = 2; i < keypoints.size(); i += 3) {
    if (keypoints[i] > 0) return true;
  }
  return false;
}

bool without_joints(const CocoAnnotation& person, CocoRules rules) {
  return rules == CocoRules::xtcocotools ? !any_third_value(person.keypoints) : person.num_keypoints == 0;
}

// The extent of all points of a detection, including hidden ones; NaN if any of them is NaN.
double extent_area(const std::vector<double>& keypoints) {
  double x0 = keypoints[0], x1 = x0, y0 = keypoints[1], y1 = y0;
  bool nan = false;
  for (size_t i = 0; i < keypoints.size(); i += 3) {
    const double x = keypoints[i], y = keypoints[i + 1];
    x0 = std::min(x0, x);
    x1 = std::max(x1, x);
    y0 = std::min(y0, y);
    y1 = std::max(y1, y);
    nan |= std::isnan(x) || std::isnan(y);
  }
  return nan ? std::numeric_limits<double>::quiet_NaN() : (x1 - x0) * (y1 - y0);
}

// Returns the index of the first number that is not finite, or -1.
int first_not_finite(const std::vector<double>& v) {
  double zero = 0;  // Stays 0 for finite numbers only, so that one test covers all of them.
  for (const double x : v) zero += x * 0;
  if (zero == 0) return -1;
  return static_cast<int>(std::find_if(v.begin(), v.end(), [](double x) { return !std::isfinite(x); }) - v.begin());
}

void check_person(const CocoAnnotations& gt, size_t i, bool strict) {
  const CocoAnnotation& person = gt.annotations[i];
  if (!strict) return;
  int at = first_not_finite(person.keypoints);
  // The position of an unlabelled joint takes no part in OKS, and published files have NaN there.
  const auto unlabelled = [&](int k) {
    const size_t flag = static_cast<size_t>(k) / 3 * 3 + 2;
    return k % 3 != 2 && flag < person.keypoints.size() && person.keypoints[flag] <= 0;
  };
  const int size = static_cast<int>(person.keypoints.size());
  while (at >= 0 && at < size && (unlabelled(at) || std::isfinite(person.keypoints[at]))) ++at;
  check(at < 0 || at == size, "{}: annotations[{}] (id {}): keypoints[{}] is not a finite number", gt.path, i,
        person.id, at);
  const Box& b = person.box;
  check(std::isfinite(person.area + b.x + b.y + b.w + b.h),
        "{}: annotations[{}] (id {}): area or bbox is not a finite number", gt.path, i, person.id);
}

// Returns whether all numbers are finite. With `strict` it throws Error if one is not.
bool check_detection(const CocoDetection& d, size_t i, const CocoSetup& s, const CocoEvalOptions& options, bool boxes) {
  check(boxes || !d.keypoints.empty(), "{}: entry [{}] (image {}) has no keypoints; expected 3 x {} numbers",
        options.detections_name, i, d.image_id, s.joints());
  check((d.lacks & coco_field::score) == 0, "{}: entry [{}] (image {}): no \"score\" (a number)",
        options.detections_name, i, d.image_id);
  const int at = first_not_finite(d.keypoints);
  const bool finite = at < 0 && std::isfinite(d.score);
  if (!options.strict || finite) return finite;
  if (at < 0)
    fail("{}: entry [{}] (image {}): score is {}, expected a finite number", options.detections_name, i, d.image_id,
         d.score);
  fail("{}: entry [{}] (image {}): keypoints[{}] is {}, expected a finite number", options.detections_name, i,
       d.image_id, at, d.keypoints[at]);
}

// The index of an image among those that are evaluated; kNotAsked if it exists but was not requested.
constexpr int kUnknown = -1, kNotAsked = -2;
int find_image(Position& position, const CocoSetup& s, int64_t id) {
  const int at = position(id);
  if (at >= 0) return at;
  return std::binary_search(s.all_images.begin(), s.all_images.end(), id) ? kNotAsked : kUnknown;
}

// Throws Error where pycocotools ends, because the truth lacks a field that it reads of every person.
void check_fields(const CocoAnnotations& gt, size_t i, uint8_t fields) {
  const CocoAnnotation& person = gt.annotations[i];
  const auto lacks = static_cast<uint8_t>(person.lacks & fields);
  if (lacks == 0) return;
  const char* name = "category_id";
  const char* expected = "a whole number";
  for (const auto& [field, its_name, its_kind] :
       {std::tuple{coco_field::iscrowd, "iscrowd", "0 or 1"},
        {coco_field::area, "area", "a number of square pixels"},
        {coco_field::num_keypoints, "num_keypoints", "the number of labelled joints"},
        {coco_field::box, "bbox", "x, y, width, height"},
        {coco_field::keypoints, "keypoints", "x, y, v per joint"}}) {
    if ((lacks & field) == 0) continue;
    name = its_name;
    expected = its_kind;
  }
  fail(
      "{}: annotations[{}] (id {}): no \"{}\" ({}), without which pycocotools ends too; --fill-in takes what is usual "
      "for fields that the truth lacks",
      gt.path, i, person.id, name, expected);
}

void gather_people(const CocoAnnotations& gt, const CocoSetup& s, const CocoEvalOptions& options, CocoEntries& in,
                   CocoEvalResult::Counts& counts) {
  check(options.fill_in || !gt.categories.empty(),
        "{}: no \"categories\", without which pycocotools ends too; --fill-in takes those of the annotations", gt.path);
  Position image_position(s.images), category_position(s.categories);
  in.person_image.assign(gt.annotations.size(), -1);
  in.person_area.assign(gt.annotations.size(), 0);
  in.person_ignored.assign(gt.annotations.size(), 0);
  in.to_find.resize(s.categories.size());
  for (size_t i = 0; i < gt.annotations.size(); ++i) {
    const CocoAnnotation& person = gt.annotations[i];
    const int image = find_image(image_position, s, person.image_id);
    if (!options.fill_in) check_fields(gt, i, coco_field::category);
    counts.people_unknown_image += image == kUnknown ? 1 : 0;
    if (image < 0) continue;
    const int category = category_position(person.category_id);
    if (category < 0) {
      ++counts.people_other_category;
      continue;
    }
    if (!options.fill_in && s.rules == CocoRules::pycocotools) {
      check_fields(gt, i, coco_field::iscrowd | coco_field::num_keypoints);
    }
    check_person(gt, i, options.strict);
    in.person_image[i] = image;
    in.person_area[i] = coco_person_area(person, s.rules);
    in.person_ignored[i] = coco_person_ignored(person, s.rules) ? 1 : 0;
    ++counts.people;
    counts.people_crowd += person.iscrowd ? 1 : 0;
    counts.people_without_joints += !person.iscrowd && in.person_ignored[i] != 0 ? 1 : 0;
    for (int a = 0; a < kAreaRanges; ++a) {
      in.to_find[category][a] += in.person_ignored[i] == 0 && !outside(in.person_area[i], s.areas[a]) ? 1 : 0;
    }
  }
}

// Returns whether detections have a bbox, which then decides their area. pycocotools and xtcocotools look at the first
// entry only: they end at a later entry without a bbox, and ignore later ones if the first entry has none.
bool have_boxes(const std::vector<CocoDetection>& dt, const std::string& name) {
  const bool first = !dt.empty() && dt[0].has_box;
  for (size_t i = 1; i < dt.size(); ++i) {
    if (dt[i].has_box == first) continue;
    fail(
        "{}: entry [{}] (image {}) has {} bbox, entry [0] has {}; a detection's area is of its bbox or of its "
        "keypoints, the same way in the whole file: give all entries a bbox, or none",
        name, i, dt[i].image_id, first ? "no" : "a", first ? "one" : "none");
  }
  return first;
}

void gather_detections(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const CocoSetup& s,
                       const CocoEvalOptions& options, CocoEntries& in, CocoEvalResult::Counts& counts) {
  check(!options.strict || !dt.empty(), "{}: the list of detections is empty; nothing to evaluate against {}",
        options.detections_name, gt.path);
  const bool boxes = have_boxes(dt, options.detections_name);
  Position image_position(s.images), category_position(s.categories);
  in.detection_image.assign(dt.size(), -1);
  in.detection_category.assign(dt.size(), -1);
  in.dt_area.resize(dt.size());
  for (size_t i = 0; i < dt.size(); ++i) {
    const int image = find_image(image_position, s, dt[i].image_id);
    check(image != kUnknown,
          "{}: entry [{}] has image_id {}, which is not among the {} images of {}; is it of another split?",
          options.detections_name, i, dt[i].image_id, s.all_images.size(), gt.path);
    check(options.fill_in || (dt[i].lacks & coco_field::category) == 0,
          "{}: entry [{}] (image {}): no \"category_id\", without which pycocotools ends too; --fill-in takes 1",
          options.detections_name, i, dt[i].image_id);
    if (image == kNotAsked) continue;
    const int category = category_position(dt[i].category_id);
    if (category < 0) {
      check(!options.refuse_other_categories,
            "{}: entry [{}] has category_id {}; expected one of those that are evaluated: {}", options.detections_name,
            i, dt[i].category_id, fmt::join(s.categories, ", "));
      if (counts.detections_other_category++ == 0) counts.first_other_category = static_cast<int64_t>(i);
      continue;
    }
    counts.detections_not_finite += check_detection(dt[i], i, s, options, boxes) ? 0 : 1;
    if (s.rules != CocoRules::pycocotools && !any_third_value(dt[i].keypoints)) {
      ++counts.detections_unseen;
      continue;
    }
    in.detection_image[i] = image;
    in.detection_category[i] = category;
    in.dt_area[i] = boxes ? dt[i].box.w * dt[i].box.h : extent_area(dt[i].keypoints);
    ++counts.detections;
  }
}

// Checks the fields of a person that are read only if there is a detection to compare with (or, for the area, if the
// person counts), and the fields of a detection that are read only if there is a person.
void check_compared(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const CocoSetup& s,
                    const CocoEvalOptions& options, const CocoEntries& in) {
  constexpr uint8_t has_detection = 1, has_person = 2;
  std::vector<uint8_t> pictures(s.images.size() * s.categories.size());
  const auto at = [&](int image, size_t category) {
    return static_cast<size_t>(image) * s.categories.size() + category;
  };
  for (size_t i = 0; i < dt.size(); ++i) {
    if (in.detection_image[i] >= 0) pictures[at(in.detection_image[i], in.detection_category[i])] |= has_detection;
  }
  Position category_position(s.categories);
  for (size_t i = 0; i < gt.annotations.size(); ++i) {
    const CocoAnnotation& person = gt.annotations[i];
    if (in.person_image[i] < 0) continue;
    uint8_t& picture = pictures[at(in.person_image[i], category_position(person.category_id))];
    picture |= has_person;
    const bool compared = (picture & has_detection) != 0;
    check(!compared || person.keypoints.size() == 3 * s.sigmas.size() || !any_third_value(person.keypoints),
          "{}: annotations[{}] (id {}) has {} keypoint numbers; expected 3 x {} (one sigma per joint)", gt.path, i,
          person.id, person.keypoints.size(), s.joints());
    if (person.lacks == 0) continue;
    if (!options.fill_in && s.rules == CocoRules::pycocotools) {
      if (in.person_ignored[i] == 0 || compared) check_fields(gt, i, coco_field::area);
      if (compared) check_fields(gt, i, coco_field::box | coco_field::keypoints);
      continue;
    }
    check((person.lacks & coco_field::keypoints) == 0 || in.person_ignored[i] != 0,
          "{}: annotations[{}] (id {}) counts {} keypoints but lists none", gt.path, i, person.id,
          person.num_keypoints);
    check((person.lacks & coco_field::box) == 0 || any_third_value(person.keypoints),
          "{}: annotations[{}] (id {}) has neither a visible joint nor a bbox to measure from", gt.path, i, person.id);
  }
  for (size_t i = 0; i < dt.size(); ++i) {
    if (in.detection_image[i] < 0 || dt[i].keypoints.size() == 3 * s.sigmas.size()) continue;
    check(pictures[at(in.detection_image[i], in.detection_category[i])] == has_detection,
          "{}: entry [{}] (image {}) has {} keypoint numbers; expected 3 x {} (one sigma per joint)",
          options.detections_name, i, dt[i].image_id, dt[i].keypoints.size(), s.joints());
  }
}

}  // namespace

CocoSetup make_coco_setup(const CocoAnnotations& gt, const CocoEvalOptions& options) {
  CocoSetup s;
  s.sigmas = options.sigmas.empty() ? coco_skeleton().sigmas : options.sigmas;
  for (size_t k = 0; k < s.sigmas.size(); ++k) {
    check(s.sigmas[k] > 0 && std::isfinite(s.sigmas[k]), "sigma {} is {}; expected a positive number", k, s.sigmas[k]);
    const double two = s.sigmas[k] * 2;
    s.spread.push_back(two * two);
  }
  s.rules = options.rules;
  for (const CocoImage& image : gt.images) s.all_images.push_back(image.id);
  s.all_images = sorted_unique(std::move(s.all_images));
  s.images = options.images.empty() ? s.all_images : sorted_unique(options.images);
  for (const int64_t id : s.images) {
    check(std::binary_search(s.all_images.begin(), s.all_images.end(), id), "{}: has no image {} to evaluate", gt.path,
          id);
  }

  std::vector<int64_t> known;
  for (const CocoCategory& category : gt.categories) known.push_back(category.id);
  if (known.empty()) {  // The file has no list of categories, so they are collected from its people.
    for (const CocoAnnotation& person : gt.annotations) known.push_back(person.category_id);
  }
  known = sorted_unique(std::move(known));
  s.categories = options.categories.empty() ? known : sorted_unique(options.categories);
  for (const int64_t id : s.categories) {
    check(std::binary_search(known.begin(), known.end(), id), "{}: has no category {}; it has {}", gt.path, id,
          fmt::join(known, ", "));
  }
  return s;
}

CocoEntries gather_entries(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const CocoSetup& s,
                           const CocoEvalOptions& options, CocoEvalResult::Counts& counts) {
  CocoEntries in;
  gather_people(gt, s, options, in, counts);
  gather_detections(gt, dt, s, options, in, counts);
  check_compared(gt, dt, s, options, in);
  return in;
}

double coco_person_area(const CocoAnnotation& person, CocoRules rules) {
  const bool from_box = rules == CocoRules::xtcocotools_crowd || (rules == CocoRules::xtcocotools && !person.has_area);
  return from_box ? person.box.w * person.box.h * 0.53 : person.area;
}

bool coco_person_ignored(const CocoAnnotation& person, CocoRules rules) {
  return person.iscrowd || without_joints(person, rules);
}

}  // namespace hr
