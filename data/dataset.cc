#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "core/counted.h"
#include "core/error.h"
#include "core/philox.h"
#include "core/threads.h"
#include "data/crops/crop_writer.h"
#include "data/crops/targets.h"

namespace hr {

// Decoded parts of pictures by image index: everything that a crop of any person in the picture can show. Entries are
// never replaced. Each epoch visits every picture once in random order, so that a fixed set of entries is found more
// often than the most recent entries would be.
class PoseDataset::Cache {
 public:
  struct Part {
    ImageView view;
    std::vector<uint8_t> rgb;
  };

  explicit Cache(size_t budget) : left_(budget) {}

  std::shared_ptr<const Part> find(int index) const {
    const std::lock_guard lock(mutex_);
    const auto found = parts_.find(index);
    return found == parts_.end() ? nullptr : found->second;
  }
  // Reserves memory before anything is decoded, so that all threads together stay within the budget.
  bool reserve(size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }
  void give_back(size_t bytes) {
    const std::lock_guard lock(mutex_);
    left_ += bytes;
  }
  // Returns false if another thread inserted the entry first.
  bool insert(int index, std::shared_ptr<const Part> part) {
    const std::lock_guard lock(mutex_);
    return parts_.emplace(index, std::move(part)).second;
  }

 private:
  mutable std::mutex mutex_;
  size_t left_;
  std::unordered_map<int, std::shared_ptr<const Part>> parts_;
};

SampleClock& SampleClock::operator+=(const SampleClock& other) {
  read += other.read;
  decode += other.decode;
  warp += other.warp;
  targets += other.targets;
  samples += other.samples;
  decoded += other.decoded;
  cached += other.cached;
  packed += other.packed;
  return *this;
}

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

PoseDataset::PoseDataset(CocoAnnotations annotations, std::shared_ptr<const PictureSource> pictures,
                         const Skeleton& skeleton, DatasetOptions options)
    : annotations_(std::move(annotations)),
      pictures_(std::move(pictures)),
      skeleton_(skeleton),
      options_(std::move(options)),
      cache_(std::make_shared<Cache>(options_.cache_bytes)),
      bad_(std::make_shared<BadSamples>()),
      remarks_(std::make_shared<Remarks>()) {
  check(options_.input_h >= 4 && options_.input_w >= 4 && options_.input_h % 4 == 0 && options_.input_w % 4 == 0,
        "dataset: input of {} x {} pixels (h x w); both must be multiples of 4 (HRNet: of 32)", options_.input_h,
        options_.input_w);
  const AugmentOptions& a = options_.augmentation;
  check(a.scale >= 0 && a.scale < 1 && a.rotation >= 0 && a.rotation <= 180,
        "dataset: augmentation scale {} and rotation {}; expected 0 <= scale < 1 and 0 <= rotation <= 180", a.scale,
        a.rotation);
  check(a.photometric >= 0 && a.photometric <= 1 && a.dropout >= 0 && a.dropout <= 1,
        "dataset: augmentation photometric {} and dropout {}; expected numbers from 0 to 1", a.photometric, a.dropout);
  check(options_.recipe == Recipe::official || options_.encoding != Encoding::udp,
        "dataset: codec udp has a geometry of its own, and so does the seed recipe; use udp with the official recipe");
}

void PoseDataset::index_people() {
  people_of_.assign(annotations_.images.size(), {});
  for (size_t i = 0; i < people_.size(); ++i) people_of_[people_[i].image_index].push_back(static_cast<uint32_t>(i));
}

PoseDataset PoseDataset::from_annotations(CocoAnnotations annotations, const fs::path& pictures,
                                          const Skeleton& skeleton, DatasetOptions options) {
  return from_annotations(std::move(annotations), open_pictures(pictures), skeleton, std::move(options));
}

namespace {

Orientation orientation_of(Recipe recipe) { return recipe == Recipe::seed ? Orientation::apply : Orientation::ignore; }

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

// Returns the box with which a person is trained or evaluated. If there is none, the reason goes to `why` and is
// counted.
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

bool PoseDataset::learn_size(int image_index, size_t people) {
  CocoImage& entry = annotations_.images[image_index];
  if (bad_picture(image_index)) return false;
  try {
    pictures_->glance(entry.file_name, [&](std::span<const std::byte> bytes) {
      const PictureInfo info = ImageDecoder().open(bytes, pictures_->place(entry.file_name),
                                                   orientation_of(options_.recipe), options_.max_pixels);
      entry.width = info.width;
      entry.height = info.height;
    });
  } catch (const Error& error) {
    bad_->add({BadSamples::Kind::picture, entry.id, error.what(), people});
    return false;
  }
  return true;
}

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

// ---- bad pictures ---------------------------------------------------------------------------------------------------

namespace {

// Checks that the picture has the size in the annotations; otherwise joints and boxes would not fit. The seed recipe
// reads pictures as they are shown and the official one as they are stored, and the annotations may refer to the other
// form.
void check_size(const PictureInfo& info, const CocoImage& entry, const std::string& place, const std::string& file,
                Recipe recipe, BadSamples::Cause& cause) {
  if (entry.width <= 0 || entry.height <= 0 || (info.width == entry.width && info.height == entry.height)) return;
  const bool seed = recipe == Recipe::seed;
  if (info.orientation >= 5 && info.width == entry.height && info.height == entry.width) {
    cause = BadSamples::Cause::turned;
    fail(
        "{}: the picture has {} x {} pixels {}, its entry in {} says {} x {}: its camera lay on its side and EXIF "
        "(orientation {}) says how to turn it; the {} recipe reads pictures as they are {}, as this entry has it",
        place, info.width, info.height, seed ? "as it is shown" : "as it is stored", file, entry.width, entry.height,
        info.orientation, seed ? "official" : "seed", seed ? "stored" : "shown");
  }
  cause = BadSamples::Cause::another_size;
  fail("{}: the picture has {} x {} pixels, its entry in {} says {} x {}; joints and boxes would not fit", place,
       info.width, info.height, file, entry.width, entry.height);
}

}  // namespace

void PoseDataset::check_pictures(int threads, const std::function<void(size_t done, size_t all)>& progress) {
  if (!pictures_->has_files()) return;
  std::vector<int> todo;
  for (size_t i = 0; i < people_of_.size(); ++i) {
    if (!people_of_[i].empty()) todo.push_back(static_cast<int>(i));
  }
  std::mutex mutex;  // Guards `done` and `progress`.
  size_t done = 0;
  for_each_on_threads(todo.size(), threads, [&] {
    return [&, decoder = std::make_unique<ImageDecoder>()](size_t i) {
      look_at_picture(todo[i], *decoder);
      const std::lock_guard lock(mutex);
      ++done;
      if (progress) progress(done, todo.size());
    };
  });
}

void PoseDataset::look_at_picture(int image_index, ImageDecoder& decoder) {
  CocoImage& entry = annotations_.images[image_index];
  auto cause = BadSamples::Cause::not_there;
  try {
    pictures_->glance(entry.file_name, [&](std::span<const std::byte> bytes) {
      cause = BadSamples::Cause::not_readable;
      const std::string place = pictures_->place(entry.file_name);
      const PictureInfo info = decoder.open(bytes, place, orientation_of(options_.recipe), options_.max_pixels);
      check_size(info, entry, place, annotations_.path, options_.recipe, cause);
      cause = BadSamples::Cause::cut_or_damaged;
      if (!info.whole || options_.refuse_damaged) {
        decoder.decode({0, 0, info.width, info.height});
        judge_damage(image_index, place, decoder.damage());
      }
      entry.width = info.width;
      entry.height = info.height;
      look_at_joints(image_index, info, place);
    });
  } catch (const Error& error) {
    note_bad(image_index, error.what(), cause);
  }
}

// Joints may lie a little beyond the edge because of rounding. MPII's people extend beyond their pictures.
void PoseDataset::look_at_joints(int image_index, const PictureInfo& info, const std::string& place) const {
  for (const uint32_t i : people_of_[image_index]) {
    const Person& person = people_[i];
    if (person.place) continue;
    for (size_t k = 0; k + 2 < person.joints.size(); k += 3) {
      const float x = person.joints[k], y = person.joints[k + 1];
      const bool inside =
          x > -2 && y > -2 && x < static_cast<float>(info.width) + 1 && y < static_cast<float>(info.height) + 1;
      if (person.joints[k + 2] <= 0 || inside) continue;
      const bool seed = options_.recipe == Recipe::seed;
      const std::string turned =
          info.orientation == 1 ? ""
                                : fmt::format("; EXIF (orientation {}) turns the picture, and it is read as it is {}",
                                              info.orientation, seed ? "shown" : "stored");
      remarks_->add("pictures with joints beyond them", annotations_.images[image_index].id,
                    fmt::format("{}: a joint of annotation {} is at {}, {}, beyond the picture's {} x {} pixels{}",
                                place, person.annotation_id, x, y, info.width, info.height, turned));
      return;
    }
  }
}

void PoseDataset::judge_damage(int image_index, const std::string& place, const std::string& damage) const {
  if (damage.empty()) return;
  const std::string what = fmt::format("{}: {}", place, damage);
  if (options_.refuse_damaged) throw Error(what);
  remarks_->add("pictures with damaged data", annotations_.images[image_index].id,
                what + "; it is used, though some of its pixels may be wrong");
}

std::vector<std::string> PoseDataset::remarks() const {
  std::vector<std::string> out = pictures_->remarks();
  for (std::string& line : remarks_->lines()) out.push_back(std::move(line));
  return out;
}

std::string PoseDataset::all_bad() const {
  std::string first;
  for (const BadSamples::Entry& entry : bad_->entries()) {
    if (entry.kind == BadSamples::Kind::picture && first.empty()) first = entry.message;
  }
  return fmt::format("{}: every picture is bad: {} ({}); the first: {}", annotations_.path, bad_->summary(),
                     bad_->causes(), first);
}

bool PoseDataset::bad_picture(int image_index) const {
  return bad_->contains(BadSamples::Kind::picture, annotations_.images[image_index].id);
}

void PoseDataset::note_bad(int image_index, const std::string& why, BadSamples::Cause cause) const {
  bad_->add(
      {BadSamples::Kind::picture, annotations_.images[image_index].id, why, people_of_[image_index].size(), cause});
}

void PoseDataset::drop_bad() {
  const size_t before = people_.size();
  std::erase_if(people_, [&](const Person& person) { return bad_picture(person.image_index); });
  counts_.bad_picture += before - people_.size();
  counts_.kept = people_.size();
  if (people_.empty()) throw Error(all_bad());
  index_people();
}

// ---- samples --------------------------------------------------------------------------------------------------------

Region PoseDataset::reach(size_t index) const {
  check(index < people_.size(), "dataset: person {} was requested; there are {}", index, people_.size());
  const Person& person = people_[index];
  const CocoImage& entry = annotations_.images[person.image_index];
  const std::vector<double> joints(person.joints.begin(), person.joints.end());
  const int w = options_.input_w, h = options_.input_h;
  const AugmentOptions* augment = options_.augment ? &options_.augmentation : nullptr;
  if (options_.recipe == Recipe::seed) {
    return reach_seed(person.box, joints, skeleton_, augment, entry.width, entry.height, w, h);
  }
  CenterScale place = center_scale(person.box, static_cast<double>(w) / h);
  if (person.place) {
    const auto scale = static_cast<float>(person.place->scale);
    place = {{static_cast<float>(person.place->center[0]), static_cast<float>(person.place->center[1])},
             {scale, scale}};
  }
  return reach_official(place, joints, skeleton_, augment, entry.width, entry.height, w, h);
}

PoseDataset::Placed PoseDataset::placed(size_t index, uint64_t epoch, int image_width) const {
  check(index < people_.size(), "dataset: person {} was requested; there are {}", index, people_.size());
  const Person& person = people_[index];
  const std::vector<double> joints(person.joints.begin(), person.joints.end());
  const int w = options_.input_w, h = options_.input_h;
  const bool official = options_.recipe == Recipe::official;
  Placed out;
  if (options_.augment) {
    int labelled = 0;
    for (size_t i = 2; i < joints.size(); i += 3) labelled += static_cast<int>(joints[i] > 0);
    Philox random(options_.seed, epoch, index);
    out.augmentation = draw_augmentation(options_.recipe, random, options_.augmentation, labelled);
  } else if (!official) {
    out.augmentation.scale = 1.25;
  }
  if (person.place) {
    out.placement =
        place_official(*person.place, joints, skeleton_, out.augmentation, image_width, w, h, options_.encoding);
    return out;
  }
  out.placement = official ? place_official(center_scale(person.box, static_cast<double>(w) / h), joints, skeleton_,
                                            out.augmentation, image_width, w, h, options_.encoding)
                           : place_seed(person.box, joints, skeleton_, out.augmentation, w, h);
  return out;
}

PoseDataset::Placed PoseDataset::placed(size_t index, uint64_t epoch) const {
  check(index < people_.size(), "dataset: person {} was requested; there are {}", index, people_.size());
  SampleWorkspace workspace;
  return placed(index, epoch, image_width(people_[index].image_index, workspace));
}

namespace {

// Adds the time since the last call to a stage.
class Stopwatch {
 public:
  explicit Stopwatch(bool cpu_time) : clock_(cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC), last_(now()) {}
  void add_to(double& seconds) {
    const double at = now();
    seconds += at - last_;
    last_ = at;
  }

 private:
  double now() const {
    timespec time{};
    clock_gettime(clock_, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  clockid_t clock_;
  double last_;
};

// The cost of decoding in nanoseconds. Everything above the last row must be read, because entropy coding goes from the
// first pixel to the last; only the needed part is transformed. Measured on COCO's baseline files; only the ratio
// matters.
double decoding_cost(const Region& region, int picture_width) {
  return region.empty() ? 0 : 3.3 * picture_width * (region.y + region.h) + 2.2 * static_cast<double>(region.area());
}

}  // namespace

PictureInfo PoseDataset::open(int image_index, SampleWorkspace& workspace) const {
  const CocoImage& entry = annotations_.images[image_index];
  Stopwatch watch(workspace.cpu_time);
  workspace.stage = BadSamples::Cause::not_there;
  const auto bytes = pictures_->read(entry.file_name, workspace.file);
  watch.add_to(workspace.clock.read);
  workspace.place = pictures_->place(entry.file_name);
  workspace.stage = BadSamples::Cause::not_readable;
  const PictureInfo info =
      workspace.decoder.open(bytes, workspace.place, orientation_of(options_.recipe), options_.max_pixels);
  check_size(info, entry, workspace.place, annotations_.path, options_.recipe, workspace.stage);
  workspace.stage = BadSamples::Cause::cut_or_damaged;
  return info;
}

int PoseDataset::image_width(int image_index, SampleWorkspace& workspace) const {
  const int width = annotations_.images[image_index].width;
  return width > 0 ? width : open(image_index, workspace).width;
}

ImageView PoseDataset::decode(int image_index, const Region& region, SampleWorkspace& workspace) const {
  if (!region.empty()) {
    if (const auto view = pictures_->pixels(static_cast<size_t>(image_index), region)) return *view;
  }
  open(image_index, workspace);
  Stopwatch watch(workspace.cpu_time);
  const ImageView view = workspace.decoder.decode(region);
  judge_damage(image_index, workspace.place, workspace.decoder.damage());
  watch.add_to(workspace.clock.decode);
  ++workspace.clock.decoded;
  return view;
}

// `members` are positions within `indices`, all in the same picture.
void PoseDataset::together(std::span<const size_t> indices, std::span<const size_t> members, uint64_t epoch,
                           std::span<const SampleTarget> targets, std::span<SampleMeta> metas,
                           SampleWorkspace& workspace) const {
  const int w = options_.input_w, h = options_.input_h;
  const int image_index = people_[indices[members[0]]].image_index;
  const CocoImage& entry = annotations_.images[image_index];
  SampleClock& clock = workspace.clock;

  int width = entry.width, height = entry.height;
  if (width <= 0 || height <= 0) {
    const PictureInfo info = open(image_index, workspace);
    width = info.width;
    height = info.height;
  }
  std::vector<Placed> places;
  std::vector<Region> regions;
  for (const size_t m : members) {
    places.push_back(placed(indices[m], epoch, width));
    const Placement& p = places.back().placement;
    regions.push_back(warp_region(p.image_to_crop, w, h, width, height, p.mirror_source));
  }

  const auto make = [&](size_t i, const ImageView& view) {
    const Placement& placement = places[i].placement;
    const SampleTarget& to = targets[members[i]];
    Stopwatch watch(workspace.cpu_time);
    const auto row = static_cast<size_t>(w);
    if (!to.image.empty() || !to.rgb.empty()) {
      crop_image(view, placement, w, h, places[i].augmentation, [&](int y, const uint8_t* rgb) {
        const size_t at = static_cast<size_t>(y) * row * 3;
        if (!to.image.empty()) normalize_row(rgb, row, to.image.data() + at, options_.bgr);
        if (!to.rgb.empty()) std::copy_n(rgb, row * 3, to.rgb.data() + at);
      });
    }
    if (!to.source.empty()) {
      write_crop_source(view, placement, w, h, places[i].augmentation, options_.bgr, to.source);
    }
    watch.add_to(clock.warp);
    const size_t index = indices[members[i]];
    const Person& person = people_[index];
    if (placement.joints.empty()) {
      std::fill(to.heatmap.begin(), to.heatmap.end(), 0.0F);
      std::fill(to.profile.begin(), to.profile.end(), 0.0);
      std::fill(to.weight.begin(), to.weight.end(), 0.0F);
    } else {
      draw_targets(options_.recipe, placement.joints, skeleton_.joint_weights, options_.sigma, w / 4, h / 4, to.heatmap,
                   to.weight, options_.encoding, to.profile);
    }
    watch.add_to(clock.targets);
    SampleMeta& meta = metas[members[i]];
    meta = {person.image_id,        person.annotation_id,      index, {}, {}, person.box_score,
            placement.place.area(), placement.heatmap_to_image};
    meta.category_id = person.category_id;
    std::copy_n(placement.place.center, 2, meta.center);
    std::copy_n(placement.place.scale, 2, meta.scale);
    ++clock.samples;
  };

  // Handles the samples whose pixels are already in memory.
  std::vector<size_t> left;
  const auto cached = cache_->find(image_index);
  for (size_t i = 0; i < members.size(); ++i) {
    // The crop lies beside the picture and is black.
    if (regions[i].empty() && (entry.width > 0 && entry.height > 0)) {
      ImageView nothing;
      nothing.width = width;
      nothing.height = height;
      make(i, nothing);
    } else if (cached && cached->view.region.contains(regions[i])) {
      make(i, cached->view);
      ++clock.cached;
    } else if (const auto view = pictures_->pixels(static_cast<size_t>(image_index), regions[i])) {
      make(i, *view);
      ++clock.packed;
    } else {
      left.push_back(i);
    }
  }
  if (left.empty()) return;

  // Everything that a crop of any person in this picture can show, if it may be kept in memory.
  Region all;
  if (!cached && options_.cache_bytes > 0 && entry.width > 0 && entry.height > 0) {
    for (const uint32_t person : people_of_[image_index]) all = united(all, reach(person));
    for (const size_t i : left) all = united(all, regions[i]);
  }
  const size_t bytes = static_cast<size_t>(all.area()) * 3 + 16;
  if (!all.empty() && cache_->reserve(bytes)) {
    try {
      const ImageView view = decode(image_index, all, workspace);
      auto part = std::make_shared<Cache::Part>();
      part->rgb.resize(bytes);
      const size_t stride = static_cast<size_t>(all.w) * 3;
      for (int y = 0; y < all.h; ++y) std::copy_n(view.at(all.x, all.y + y), stride, part->rgb.data() + y * stride);
      part->view = view;
      part->view.region = all;
      part->view.pixels = part->rgb.data();
      part->view.stride = stride;
      part->view.readable = bytes;
      for (const size_t i : left) make(i, part->view);
      if (!cache_->insert(image_index, std::move(part))) cache_->give_back(bytes);
    } catch (...) {
      cache_->give_back(bytes);
      throw;
    }
    return;
  }
  // Decides between one decoding for all of them and one for each.
  Region joint;
  double apart = 0;
  for (const size_t i : left) {
    joint = united(joint, regions[i]);
    apart += decoding_cost(regions[i], width);
  }
  if (decoding_cost(joint, width) <= apart) {
    const ImageView view = decode(image_index, joint, workspace);
    for (const size_t i : left) make(i, view);
  } else {
    for (const size_t i : left) make(i, decode(image_index, regions[i], workspace));
  }
}

void PoseDataset::samples_into(std::span<const size_t> indices, uint64_t epoch, std::span<const SampleTarget> targets,
                               std::span<SampleMeta> metas, SampleWorkspace& workspace) const {
  check(indices.size() == targets.size() && indices.size() == metas.size(),
        "dataset: {} samples were requested with memory for {} samples and {} metas", indices.size(), targets.size(),
        metas.size());
  std::vector<bool> done(indices.size());
  std::vector<size_t> members;
  for (size_t i = 0; i < indices.size(); ++i) {
    check(indices[i] < people_.size(), "dataset: person {} was requested; there are {}", indices[i], people_.size());
    if (done[i]) continue;
    const int image_index = people_[indices[i]].image_index;
    members.clear();
    for (size_t j = i; j < indices.size(); ++j) {
      if (!done[j] && indices[j] < people_.size() && people_[indices[j]].image_index == image_index) {
        members.push_back(j);
        done[j] = true;
      }
    }
    if (!options_.substitute_bad) {
      together(indices, members, epoch, targets, metas, workspace);
      continue;
    }
    const auto try_them = [&](std::span<const size_t> who, std::span<const size_t> where) {
      const int picture = people_[who[where[0]]].image_index;
      if (bad_picture(picture)) return false;
      workspace.stage = BadSamples::Cause::other;
      try {
        together(who, where, epoch, targets, metas, workspace);
        return true;
      } catch (const Error& error) {
        note_bad(picture, error.what(), workspace.stage);
        return false;
      }
    };
    if (try_them(indices, members)) continue;
    std::vector<size_t> others(indices.begin(), indices.end());
    for (const size_t m : members) {
      bool found = false;
      for (size_t step = 1; step < people_.size() && !found; ++step) {
        others[m] = (indices[m] + step) % people_.size();
        found = try_them(others, std::span(&m, 1));
      }
      if (!found) throw Error(all_bad());
      metas[m].substitute = true;
    }
  }
}

void PoseDataset::sample_into(size_t index, uint64_t epoch, std::span<float> image, std::span<float> target,
                              std::span<float> weight, SampleMeta& meta) const {
  SampleWorkspace workspace;
  const SampleTarget to{.image = image, .heatmap = target, .weight = weight};
  samples_into(std::span(&index, 1), epoch, std::span(&to, 1), std::span(&meta, 1), workspace);
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
  SampleWorkspace workspace;
  Image out(options_.input_w, options_.input_h);
  std::vector<float> weight(static_cast<size_t>(skeleton_.joints()));
  SampleMeta meta;
  const SampleTarget to{.rgb = out.rgb, .weight = weight};
  samples_into(std::span(&index, 1), epoch, std::span(&to, 1), std::span(&meta, 1), workspace);
  return out;
}

}  // namespace hr
