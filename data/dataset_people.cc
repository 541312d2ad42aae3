// Selects the people of a data set from an annotation file, from detections, from a pack or from MPII's lists.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <unordered_map>

#include "core/counted.h"
#include "core/error.h"
#include "data/dataset.h"

namespace hr {

std::string DatasetCounts::summary() const {
  const std::string singular =
      noun == "people" ? "person" : noun.substr(0, noun.size() - 1);  // For "annotations" and "detections".
  std::string text = fmt::format("{}: {} kept", counted(entries, singular, noun), kept);
  const auto add = [&](size_t n, const char* what) {
    if (n != 0) text += fmt::format(", {} {}", n, what);
  };
  add(crowd, "crowd");
  add(other_category, "of other categories");
  add(without_joints, "without labelled joints");
  add(zero_area, "with an area of 0");
  add(empty_box, "with an empty box");
  add(outside, "with a box outside of the picture");
  add(bad_box - std::min(bad_box, zero_area + empty_box + outside), "with a box that cannot be used");
  add(low_score, "below the score limit");
  add(unknown_image, "of pictures not in the annotation file");
  add(bad_picture, "whose picture is bad");
  return text;
}

PoseDataset PoseDataset::from_annotations(CocoAnnotations annotations, const fs::path& pictures,
                                          const Skeleton& skeleton, DatasetOptions options) {
  return from_annotations(std::move(annotations), open_pictures(pictures), skeleton, std::move(options));
}

namespace {

bool finite(const Box& box) {
  return std::isfinite(box.x) && std::isfinite(box.y) && std::isfinite(box.w) && std::isfinite(box.h);
}

bool keeps(const std::vector<int64_t>& categories, int64_t category) {
  return categories.empty() || std::find(categories.begin(), categories.end(), category) != categories.end();
}

// Returns for example "`categories` is 1, and the people have category 0 (person): choose with `categories` 0, or take
// everybody with `categories` all".
std::string other_categories(const CocoAnnotations& file, const std::vector<int64_t>& asked) {
  std::map<int64_t, std::string> there;
  for (const CocoAnnotation& a : file.annotations) {
    if (!a.keypoints.empty()) there[a.category_id];
  }
  if (there.empty()) {
    for (const CocoAnnotation& a : file.annotations) there[a.category_id];
  }
  for (const CocoCategory& category : file.categories) {
    if (const auto at = there.find(category.id); at != there.end()) at->second = fmt::format(" ({})", category.name);
  }
  std::string list;
  for (const auto& [id, name] : there) list += fmt::format("{}{}{}", list.empty() ? "" : ", ", id, name);
  return fmt::format(
      "`categories` is {}, and the people have category {}: choose with `categories` {}, or take "
      "everybody with `categories` all",
      fmt::join(asked, " "), list, there.empty() ? 0 : there.begin()->first);
}

// Returns the box with which a person is trained or evaluated. If the person has no usable box, sets `why` to the
// reason and counts it.
std::optional<Box> usable_box(const CocoAnnotation& a, const CocoImage& image, bool official, const char*& why,
                              DatasetCounts& counts) {
  if (!finite(a.box)) {
    why = "a box that is not a number";
  } else if (!official) {
    if (a.box.w > 0 && a.box.h > 0) return a.box;
    why = "an empty box";
    ++counts.empty_box;
  } else if (const auto box = clean_box(a.box, image.width, image.height); !box && a.box.w <= 0 && a.box.h <= 0) {
    why = "an empty box";
    ++counts.empty_box;
  } else if (a.area <= 0) {
    const bool flat = a.box.w <= 0 || a.box.h <= 0;
    why = flat ? "an empty box" : "an area of 0, so that the official recipe leaves the person out";
    ++(flat ? counts.empty_box : counts.zero_area);
  } else {
    // A box of one pixel shrinks to nothing. The reference would keep it and divide by zero.
    if (box && (box->w > 0 || box->h > 0)) return box;
    why = box ? "an empty box" : "a box outside of the picture";
    ++(box ? counts.empty_box : counts.outside);
  }
  ++counts.bad_box;
  return std::nullopt;
}

}  // namespace

PoseDataset PoseDataset::from_annotations(CocoAnnotations annotations, std::shared_ptr<const PictureSource> pictures,
                                          const Skeleton& skeleton, DatasetOptions options) {
  PoseDataset out(std::move(annotations), std::move(pictures), skeleton, std::move(options));
  const CocoAnnotations& file = out.annotations_;
  const bool official = out.options_.recipe == Recipe::official;

  std::unordered_map<int64_t, std::vector<size_t>> by_image;
  for (size_t i = 0; i < file.annotations.size(); ++i) by_image[file.annotations[i].image_id].push_back(i);
  out.counts_.entries = file.annotations.size();
  for (size_t image_index = 0; image_index < file.images.size(); ++image_index) {
    const CocoImage& image = file.images[image_index];
    const auto here = by_image.find(image.id);
    if (here == by_image.end()) continue;
    for (const size_t i : here->second) {
      const CocoAnnotation& a = file.annotations[i];
      if (official && a.iscrowd) {
        ++out.counts_.crowd;
        continue;
      }
      if (!keeps(out.options_.categories, a.category_id)) {
        ++out.counts_.other_category;
        continue;
      }
      if (a.keypoints.empty() || *std::max_element(a.keypoints.begin(), a.keypoints.end()) == 0) {
        ++out.counts_.without_joints;
        continue;
      }
      check(a.keypoints.size() == static_cast<size_t>(skeleton.joints()) * 3,
            "{}: annotations[{}] (id {}): {} keypoint numbers, but the skeleton has {} joints (x 3 = {})", file.path, i,
            a.id, a.keypoints.size(), skeleton.joints(), skeleton.joints() * 3);
      // The official recipe clips boxes to the picture. If the file does not give the size of the picture, the picture
      // itself does.
      if (official && (image.width <= 0 || image.height <= 0) &&
          !out.learn_size(static_cast<int>(image_index), here->second.size())) {
        ++out.counts_.bad_picture;
        continue;
      }
      const char* why = "";
      const std::optional<Box> box = usable_box(a, image, official, why, out.counts_);
      if (!box) {
        out.bad_->add(
            {BadSamples::Kind::annotation, a.id,
             fmt::format("{}: annotations[{}] (id {}): {}: {} x {} at {}, {}, area {}, picture {} x {}", file.path, i,
                         a.id, why, a.box.w, a.box.h, a.box.x, a.box.y, a.area, image.width, image.height),
             1});
        continue;
      }
      Person person{a.image_id, a.id, static_cast<int>(image_index), *box, 1.0F, {}};
      person.joints.assign(a.keypoints.begin(), a.keypoints.end());
      person.category_id = a.category_id;
      out.people_.push_back(std::move(person));
    }
  }
  out.counts_.kept = out.people_.size();
  check(!out.people_.empty(), "{}: there are no people to train or evaluate on: {}; {}", file.path,
        out.counts_.summary(),
        out.counts_.other_category > 0 ? other_categories(file, out.options_.categories)
        : out.counts_.zero_area > 0
            ? "\"area\" is the area of the person's outline, or as much as width x height of the box"
        : out.bad_->size() > 0 ? "the first: " + out.bad_->entries().front().message
                               : "is this a person_keypoints file?");
  out.index_people();
  return out;
}

PoseDataset PoseDataset::from_detections(CocoAnnotations annotations, const std::vector<CocoDetection>& detections,
                                         const fs::path& pictures, const Skeleton& skeleton, DatasetOptions options,
                                         double min_score) {
  PoseDataset out(std::move(annotations), open_pictures(pictures), skeleton, std::move(options));
  std::unordered_map<int64_t, int> index_of;
  for (size_t i = 0; i < out.annotations_.images.size(); ++i) {
    index_of[out.annotations_.images[i].id] = static_cast<int>(i);
  }
  DatasetCounts& counts = out.counts_;
  counts.noun = "detections";
  counts.entries = detections.size();
  for (const CocoDetection& d : detections) {
    const auto image = index_of.find(d.image_id);
    if (!keeps(out.options_.categories, d.category_id)) {
      ++counts.other_category;
    } else if (!(d.score >= min_score)) {  // True for NaN too.
      ++counts.low_score;
    } else if (image == index_of.end()) {
      ++counts.unknown_image;
    } else if (!d.has_box || !finite(d.box) || d.box.w <= 0 || d.box.h <= 0) {
      ++counts.bad_box;
    } else {
      out.people_.push_back({d.image_id, 0, image->second, d.box, static_cast<float>(d.score), {}});
      out.people_.back().category_id = d.category_id;
    }
  }
  counts.kept = out.people_.size();
  check(!out.people_.empty(), "{}: no detection can be used: {}; do the detections belong to this file?",
        out.annotations_.path, counts.summary());
  out.index_people();
  return out;
}

PoseDataset PoseDataset::from_people(CocoAnnotations annotations, std::vector<Person> people, DatasetCounts counts,
                                     std::shared_ptr<const PictureSource> pictures, const Skeleton& skeleton,
                                     DatasetOptions options) {
  PoseDataset out(std::move(annotations), std::move(pictures), skeleton, std::move(options));
  out.people_ = std::move(people);
  out.counts_ = std::move(counts);
  std::unordered_map<int64_t, int64_t> category_of;  // The people of a pack have the category of their annotation.
  for (const CocoAnnotation& a : out.annotations_.annotations) category_of[a.id] = a.category_id;
  for (Person& person : out.people_) {
    if (const auto at = category_of.find(person.annotation_id); at != category_of.end()) {
      person.category_id = at->second;
    }
  }
  out.index_people();
  return out;
}

PoseDataset PoseDataset::from_mpii(const MpiiAnnotations& people, const fs::path& pictures, const Skeleton& skeleton,
                                   DatasetOptions options) {
  check(people.joints == skeleton.joints(), "{}: {} joints, but the skeleton {} has {}", people.path, people.joints,
        skeleton.name, skeleton.joints());
  check(options.recipe == Recipe::official, "{}: the seed recipe does not know MPII's places; use the official one",
        people.path);
  CocoAnnotations file;
  file.path = people.path;
  file.categories = {{1, "person", skeleton.names, {}}};
  std::unordered_map<std::string, int> index_of;
  std::vector<Person> kept;
  for (const MpiiPerson& p : people.people) {
    const auto [image, fresh] = index_of.try_emplace(p.image, static_cast<int>(file.images.size()));
    if (fresh) file.images.push_back({.id = image->second + 1, .file_name = p.image});
    const MpiiPlace place = mpii_place(p);
    CocoAnnotation a;
    a.id = static_cast<int64_t>(kept.size()) + 1;
    a.image_id = image->second + 1;
    const double side = 200 * place.scale;
    a.box = {place.center[0] - side / 2, place.center[1] - side / 2, side, side};
    a.has_area = false;
    a.area = side * side;
    for (size_t k = 0; k < p.visible.size(); ++k) {
      const bool visible = p.visible[k] > 0;
      a.keypoints.insert(a.keypoints.end(), {p.joints[2 * k] - 1, p.joints[2 * k + 1] - 1, visible ? 1.0 : 0.0});
      a.num_keypoints += visible ? 1 : 0;
    }
    Person person{a.image_id, a.id, image->second, a.box, 1, {a.keypoints.begin(), a.keypoints.end()}};
    person.place = place;
    kept.push_back(std::move(person));
    file.annotations.push_back(std::move(a));
  }
  PoseDataset out(std::move(file), open_pictures(pictures), skeleton, std::move(options));
  out.people_ = std::move(kept);
  out.counts_.noun = "people";
  out.counts_.entries = out.counts_.kept = out.people_.size();
  out.index_people();
  return out;
}

}  // namespace hr
