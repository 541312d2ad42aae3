// Finds the pictures of a data set that cannot be used, and leaves their people out.
#include "core/error.h"
#include "core/threads.h"
#include "data/dataset_parts.h"

namespace hr {

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

}  // namespace hr
