#include "data/dataset.h"

#include <algorithm>
#include <ctime>

#include "core/error.h"
#include "core/philox.h"
#include "data/crops/crop_writer.h"
#include "data/crops/targets.h"
#include "data/dataset_parts.h"

namespace hr {

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

// The samples of one picture that are made together. `members` are positions within `indices`.
struct PoseDataset::OfOnePicture {
  std::span<const size_t> indices, members;
  std::span<const SampleTarget> targets;
  std::span<SampleMeta> metas;
  SampleWorkspace& workspace;
  int image_index = 0, width = 0, height = 0;
  std::vector<Placed> places = {};   // Of each member.
  std::vector<Region> regions = {};  // The part of the picture that the crop of each member shows.
};

// Makes the crop, the targets and the meta data of one member from the pixels in `view`.
void PoseDataset::make_sample(const OfOnePicture& s, size_t i, const ImageView& view) const {
  const int w = options_.input_w, h = options_.input_h;
  SampleClock& clock = s.workspace.clock;
  const Placement& placement = s.places[i].placement;
  const SampleTarget& to = s.targets[s.members[i]];
  Stopwatch watch(s.workspace.cpu_time);
  const auto row = static_cast<size_t>(w);
  if (!to.image.empty() || !to.rgb.empty()) {
    crop_image(view, placement, w, h, s.places[i].augmentation, [&](int y, const uint8_t* rgb) {
      const size_t at = static_cast<size_t>(y) * row * 3;
      if (!to.image.empty()) normalize_row(rgb, row, to.image.data() + at, options_.bgr);
      if (!to.rgb.empty()) std::copy_n(rgb, row * 3, to.rgb.data() + at);
    });
  }
  if (!to.source.empty()) {
    write_crop_source(view, placement, w, h, s.places[i].augmentation, options_.bgr, to.source);
  }
  watch.add_to(clock.warp);
  const size_t index = s.indices[s.members[i]];
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
  SampleMeta& meta = s.metas[s.members[i]];
  meta = {person.image_id,        person.annotation_id,      index, {}, {}, person.box_score,
          placement.place.area(), placement.heatmap_to_image};
  meta.category_id = person.category_id;
  std::copy_n(placement.place.center, 2, meta.center);
  std::copy_n(placement.place.scale, 2, meta.scale);
  ++clock.samples;
}

// Makes the samples whose pixels are in memory already, and returns the positions of the others.
std::vector<size_t> PoseDataset::make_from_memory(const OfOnePicture& s) const {
  const CocoImage& entry = annotations_.images[s.image_index];
  SampleClock& clock = s.workspace.clock;
  std::vector<size_t> left;
  const auto cached = cache_->find(s.image_index);
  for (size_t i = 0; i < s.members.size(); ++i) {
    // The crop lies beside the picture and is black.
    if (s.regions[i].empty() && (entry.width > 0 && entry.height > 0)) {
      ImageView nothing;
      nothing.width = s.width;
      nothing.height = s.height;
      make_sample(s, i, nothing);
    } else if (cached && cached->view.region.contains(s.regions[i])) {
      make_sample(s, i, cached->view);
      ++clock.cached;
    } else if (const auto view = pictures_->pixels(static_cast<size_t>(s.image_index), s.regions[i])) {
      make_sample(s, i, *view);
      ++clock.packed;
    } else {
      left.push_back(i);
    }
  }
  return left;
}

// Decodes everything that a crop of any person in this picture can show, makes the samples in `left` from it, and keeps
// it in the cache. Returns false, and does nothing, if the cache has the picture or no room for it.
bool PoseDataset::make_and_cache(const OfOnePicture& s, std::span<const size_t> left) const {
  const CocoImage& entry = annotations_.images[s.image_index];
  if (options_.cache_bytes == 0 || entry.width <= 0 || entry.height <= 0 || cache_->find(s.image_index)) return false;
  Region all;
  for (const uint32_t person : people_of_[s.image_index]) all = united(all, reach(person));
  for (const size_t i : left) all = united(all, s.regions[i]);
  const size_t bytes = static_cast<size_t>(all.area()) * 3 + 16;
  if (all.empty() || !cache_->reserve(bytes)) return false;
  try {
    const ImageView view = decode(s.image_index, all, s.workspace);
    auto part = std::make_shared<Cache::Part>();
    part->rgb.resize(bytes);
    const size_t stride = static_cast<size_t>(all.w) * 3;
    for (int y = 0; y < all.h; ++y) std::copy_n(view.at(all.x, all.y + y), stride, part->rgb.data() + y * stride);
    part->view = view;
    part->view.region = all;
    part->view.pixels = part->rgb.data();
    part->view.stride = stride;
    part->view.readable = bytes;
    for (const size_t i : left) make_sample(s, i, part->view);
    if (!cache_->insert(s.image_index, std::move(part))) cache_->give_back(bytes);
  } catch (...) {
    cache_->give_back(bytes);
    throw;
  }
  return true;
}

void PoseDataset::make_together(OfOnePicture s, uint64_t epoch) const {
  const int w = options_.input_w, h = options_.input_h;
  s.image_index = people_[s.indices[s.members[0]]].image_index;
  const CocoImage& entry = annotations_.images[s.image_index];
  s.width = entry.width;
  s.height = entry.height;
  if (s.width <= 0 || s.height <= 0) {
    const PictureInfo info = open(s.image_index, s.workspace);
    s.width = info.width;
    s.height = info.height;
  }
  for (const size_t m : s.members) {
    s.places.push_back(placed(s.indices[m], epoch, s.width));
    const Placement& p = s.places.back().placement;
    s.regions.push_back(warp_region(p.image_to_crop, w, h, s.width, s.height, p.mirror_source));
  }
  const std::vector<size_t> left = make_from_memory(s);
  if (left.empty() || make_and_cache(s, left)) return;
  // Decides between one decoding for all of them and one for each.
  Region joint;
  double apart = 0;
  for (const size_t i : left) {
    joint = united(joint, s.regions[i]);
    apart += decoding_cost(s.regions[i], s.width);
  }
  if (decoding_cost(joint, s.width) <= apart) {
    const ImageView view = decode(s.image_index, joint, s.workspace);
    for (const size_t i : left) make_sample(s, i, view);
  } else {
    for (const size_t i : left) make_sample(s, i, decode(s.image_index, s.regions[i], s.workspace));
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
      make_together({indices, members, targets, metas, workspace}, epoch);
      continue;
    }
    const auto try_them = [&](std::span<const size_t> who, std::span<const size_t> where) {
      const int picture = people_[who[where[0]]].image_index;
      if (bad_picture(picture)) return false;
      workspace.stage = BadSamples::Cause::other;
      try {
        make_together({who, where, targets, metas, workspace}, epoch);
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
