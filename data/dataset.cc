#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "core/error.h"
#include "core/philox.h"
#include "data/targets.h"

namespace hr {

// Decoded pictures by index. Most of the budget keeps whatever comes first for good: epochs visit everything once, in
// random order, and there a fixed share is found more often than the most recent ones would be. The last sixteenth is a
// queue, for people of one picture that follow each other in evaluation.
class PoseDataset::Cache {
 public:
  explicit Cache(size_t budget) : fixed_budget_(budget - budget / 16), queue_budget_(budget / 16) {}

  std::shared_ptr<const Image> find(int index) const {
    const std::lock_guard lock(mutex_);
    const auto found = pictures_.find(index);
    return found == pictures_.end() ? nullptr : found->second;
  }

  void insert(int index, std::shared_ptr<const Image> picture) {
    const size_t bytes = picture->rgb.size();
    const std::lock_guard lock(mutex_);
    if (pictures_.count(index) != 0) return;  // two workers decoded the same picture
    if (fixed_bytes_ + bytes <= fixed_budget_) {
      fixed_bytes_ += bytes;
    } else if (bytes <= queue_budget_) {
      while (queue_bytes_ + bytes > queue_budget_) {
        const auto oldest = pictures_.find(queue_.front());
        queue_bytes_ -= oldest->second->rgb.size();
        pictures_.erase(oldest);
        queue_.pop_front();
      }
      queue_bytes_ += bytes;
      queue_.push_back(index);
    } else {
      return;
    }
    pictures_.emplace(index, std::move(picture));
  }

 private:
  mutable std::mutex mutex_;
  size_t fixed_budget_, queue_budget_, fixed_bytes_ = 0, queue_bytes_ = 0;
  std::deque<int> queue_;
  std::unordered_map<int, std::shared_ptr<const Image>> pictures_;
};

std::string DatasetCounts::summary() const {
  std::string text = fmt::format("{} {}: {} kept", entries, noun, kept);
  const auto add = [&](size_t n, const char* what) {
    if (n != 0) text += fmt::format(", {} {}", n, what);
  };
  add(crowd, "crowd");
  add(other_category, "of a category other than 1");
  add(without_joints, "without labelled joints");
  add(bad_box, "with an empty box or one outside of the picture");
  add(low_score, "below the score limit");
  add(unknown_image, "of pictures not in the annotation file");
  return text;
}

PoseDataset::PoseDataset(CocoAnnotations annotations, fs::path image_folder, const Skeleton& skeleton,
                         DatasetOptions options)
    : annotations_(std::move(annotations)),
      image_folder_(std::move(image_folder)),
      skeleton_(skeleton),
      options_(options),
      cache_(std::make_shared<Cache>(options.cache_bytes)) {
  check(options.input_h >= 4 && options.input_w >= 4 && options.input_h % 4 == 0 && options.input_w % 4 == 0,
        "dataset: input of {} x {} pixels (h x w); both must be multiples of 4 (HRNet: of 32)", options.input_h,
        options.input_w);
  const AugmentOptions& a = options.augmentation;
  check(a.scale >= 0 && a.scale < 1 && a.rotation >= 0 && a.rotation <= 180,
        "dataset: augmentation scale {} and rotation {}; expected 0 <= scale < 1 and 0 <= rotation <= 180", a.scale,
        a.rotation);
}

PoseDataset PoseDataset::from_annotations(CocoAnnotations annotations, fs::path image_folder, const Skeleton& skeleton,
                                          DatasetOptions options) {
  PoseDataset out(std::move(annotations), std::move(image_folder), skeleton, options);
  const CocoAnnotations& file = out.annotations_;
  const bool official = options.recipe == Recipe::official;

  std::unordered_map<int64_t, std::vector<size_t>> by_image;
  for (size_t i = 0; i < file.annotations.size(); ++i) by_image[file.annotations[i].image_id].push_back(i);
  out.counts_.entries = file.annotations.size();
  for (size_t image_index = 0; image_index < file.images.size(); ++image_index) {
    const CocoImage& image = file.images[image_index];
    for (const size_t i : by_image[image.id]) {
      const CocoAnnotation& a = file.annotations[i];
      if (official && a.iscrowd) {
        ++out.counts_.crowd;
        continue;
      }
      if (a.category_id != 1) {
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
      std::optional<Box> box = a.box;
      if (official) {
        check(image.width > 0 && image.height > 0, "{}: images[{}] (id {}): no \"width\" and \"height\"", file.path,
              image_index, image.id);
        box = clean_box(a.box, image.width, image.height);
        // A box of one pixel shrinks to nothing; the reference would keep it and divide by zero.
        if (box && (a.area <= 0 || (box->w == 0 && box->h == 0))) box.reset();
      } else if (a.box.w <= 0 || a.box.h <= 0) {
        box.reset();
      }
      if (!box) {
        ++out.counts_.bad_box;
        continue;
      }
      Person person{a.image_id, a.id, static_cast<int>(image_index), *box, 1.0F, {}};
      person.joints.assign(a.keypoints.begin(), a.keypoints.end());
      out.people_.push_back(std::move(person));
    }
  }
  out.counts_.kept = out.people_.size();
  check(!out.people_.empty(), "{}: nobody to train or evaluate on: {}; is this a person_keypoints file?", file.path,
        out.counts_.summary());
  return out;
}

PoseDataset PoseDataset::from_detections(CocoAnnotations annotations, const std::vector<CocoDetection>& detections,
                                         fs::path image_folder, const Skeleton& skeleton, DatasetOptions options,
                                         double min_score) {
  PoseDataset out(std::move(annotations), std::move(image_folder), skeleton, options);
  std::unordered_map<int64_t, int> index_of;
  for (size_t i = 0; i < out.annotations_.images.size(); ++i) {
    index_of[out.annotations_.images[i].id] = static_cast<int>(i);
  }
  DatasetCounts& counts = out.counts_;
  counts.noun = "detections";
  counts.entries = detections.size();
  for (const CocoDetection& d : detections) {
    const auto image = index_of.find(d.image_id);
    if (d.category_id != 1) {
      ++counts.other_category;
    } else if (!(d.score >= min_score)) {  // NaN too
      ++counts.low_score;
    } else if (image == index_of.end()) {
      ++counts.unknown_image;
    } else if (!d.has_box || d.box.w <= 0 || d.box.h <= 0) {
      ++counts.bad_box;
    } else {
      out.people_.push_back({d.image_id, 0, image->second, d.box, static_cast<float>(d.score), {}});
    }
  }
  counts.kept = out.people_.size();
  check(!out.people_.empty(), "{}: no detection can be used: {}; do the detections belong to this file?",
        out.annotations_.path, counts.summary());
  return out;
}

fs::path PoseDataset::image_path(int image_index) const {
  return image_folder_ / annotations_.images.at(image_index).file_name;
}

namespace {

// Why a picture's file cannot be used, or nothing.
std::string trouble(const fs::path& path, const std::string& file_name) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) {
    if (fs::path(file_name).has_parent_path()) {
      return fmt::format(
          "{}: no such picture; the annotation's file_name \"{}\" has folders, a plain \"{}\" is not looked for",
          path.string(), file_name, fs::path(file_name).filename().string());
    }
    return fmt::format("{}: no such picture", path.string());
  }
  if (!fs::is_regular_file(status)) return fmt::format("{}: not a file", path.string());
  const auto size = fs::file_size(path, error);
  if (error) return fmt::format("{}: {}", path.string(), error.message());
  if (size == 0) return fmt::format("{}: empty file (0 bytes), expected a picture", path.string());
  return {};
}

}  // namespace

void PoseDataset::check_files() const {
  std::vector<bool> seen(annotations_.images.size());
  std::string first;
  size_t bad = 0, all = 0;
  for (const Person& person : people_) {
    if (seen[person.image_index]) continue;
    seen[person.image_index] = true;
    ++all;
    std::string reason = trouble(image_path(person.image_index), annotations_.images[person.image_index].file_name);
    if (reason.empty()) continue;
    if (bad++ == 0) first = std::move(reason);
  }
  check(bad == 0, "{} ({} of the {} pictures that {} refers to cannot be used; is the folder right?)", first, bad, all,
        annotations_.path);
}

std::shared_ptr<const Image> PoseDataset::picture(int image_index) const {
  if (auto found = cache_->find(image_index)) return found;
  const CocoImage& entry = annotations_.images[image_index];
  const fs::path path = image_path(image_index);
  if (const std::string reason = trouble(path, entry.file_name); !reason.empty()) throw Error(reason);
  auto image = std::make_shared<const Image>(read_image(path));
  check(entry.width <= 0 || entry.height <= 0 || (image->width == entry.width && image->height == entry.height),
        "{}: the picture has {} x {} pixels, its entry in {} says {} x {}; joints and boxes would not fit",
        path.string(), image->width, image->height, annotations_.path, entry.width, entry.height);
  cache_->insert(image_index, image);
  return image;
}

Placement PoseDataset::place(size_t index, uint64_t epoch, int image_width) const {
  check(index < people_.size(), "dataset: person {} of {}", index, people_.size());
  const Person& person = people_[index];
  const std::vector<double> joints(person.joints.begin(), person.joints.end());
  const int w = options_.input_w, h = options_.input_h;
  const bool official = options_.recipe == Recipe::official;
  Augmentation augmentation;
  if (options_.augment) {
    int labelled = 0;
    for (size_t i = 2; i < joints.size(); i += 3) labelled += static_cast<int>(joints[i] > 0);
    Philox random(options_.seed, epoch, index);
    augmentation = draw_augmentation(options_.recipe, random, options_.augmentation, labelled);
  } else if (!official) {
    augmentation.scale = 1.25;
  }
  if (!official) return place_seed(person.box, joints, skeleton_, augmentation, w, h);
  return place_official(center_scale(person.box, static_cast<double>(w) / h), joints, skeleton_, augmentation,
                        image_width, w, h);
}

void PoseDataset::sample_into(size_t index, uint64_t epoch, std::span<float> image, std::span<float> target,
                              std::span<float> weight, SampleMeta& meta) const {
  check(index < people_.size(), "dataset: person {} of {}", index, people_.size());
  const Person& person = people_[index];
  const auto source = picture(person.image_index);
  const Placement placement = place(index, epoch, source->width);
  normalize(crop_image(*source, placement, options_.input_w, options_.input_h), image, options_.bgr);
  if (placement.joints.empty()) {
    std::fill(target.begin(), target.end(), 0.0F);
    std::fill(weight.begin(), weight.end(), 0.0F);
  } else {
    draw_targets(options_.recipe, placement.joints, skeleton_.joint_weights, options_.sigma, options_.input_w / 4,
                 options_.input_h / 4, target, weight);
  }
  meta = {person.image_id,        person.annotation_id,      index, {}, {}, person.box_score,
          placement.place.area(), placement.heatmap_to_image};
  std::copy_n(placement.place.center, 2, meta.center);
  std::copy_n(placement.place.scale, 2, meta.scale);
}

Sample PoseDataset::sample(size_t index, uint64_t epoch) const {
  const size_t pixels = static_cast<size_t>(options_.input_h) * options_.input_w;
  const auto joints = static_cast<size_t>(skeleton_.joints());
  Sample out;
  out.image.resize(pixels * 3);
  out.target.resize(pixels / 16 * joints);
  out.weight.resize(joints);
  sample_into(index, epoch, out.image, out.target, out.weight, out.meta);
  return out;
}

Image PoseDataset::crop(size_t index, uint64_t epoch) const {
  check(index < people_.size(), "dataset: person {} of {}", index, people_.size());
  const auto source = picture(people_[index].image_index);
  return crop_image(*source, place(index, epoch, source->width), options_.input_w, options_.input_h);
}

}  // namespace hr
