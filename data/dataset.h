// From people in pictures to samples: which people a recipe keeps, and a sample as a pure function of (seed, epoch,
// index).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/crops/augment.h"
#include "data/crops/geometry.h"
#include "data/formats/bad_samples.h"
#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "data/formats/mpii.h"
#include "data/formats/pictures.h"
#include "data/formats/skeleton.h"

namespace hr {

struct DatasetOptions {
  Recipe recipe = Recipe::official;
  int input_h = 256, input_w = 192;
  double sigma = 2;
  bool augment = false;
  uint64_t seed = 0;
  AugmentOptions augmentation{};
  bool bgr = false;                        // The published PoseResNet weights expect B, G, R.
  size_t cache_bytes = size_t{512} << 20;  // The memory for decoded parts of pictures; 0 keeps none.
  Encoding encoding = Encoding::quarter;
  std::vector<int64_t> categories{1};       // The categories to keep; empty keeps all.
  int64_t max_pixels = default_max_pixels;  // Larger pictures are refused before memory is allocated for them.
  // If a picture turns out to be bad during an epoch: false throws an Error; true uses the next person whose picture is
  // good (SampleMeta::substitute is set) and reports the picture in bad().
  bool substitute_bad = false;
  // If a JPEG's reader warns of damaged data: false uses the picture and names it in remarks(); true treats it as a bad
  // picture, and check_pictures() then reads every picture to its end to find such data.
  bool refuse_damaged = false;
};

struct Person {
  int64_t image_id = 0, annotation_id = 0;  // annotation_id is 0 for detections.
  int image_index = 0;                      // An index into annotations().images.
  Box box;                                  // official: clipped (annotations) or as detected; seed: as annotated.
  float box_score = 1;
  std::vector<float> joints;       // [K][x, y, v] in picture pixels as annotated; empty for detections.
  std::optional<MpiiPlace> place;  // MPII: the place of the person, which is used in place of the box.
  int64_t category_id = 1;         // The category of the annotation or the detection.
};

struct SampleMeta {
  int64_t image_id = 0, annotation_id = 0;
  size_t index = 0;
  float center[2] = {0, 0}, scale[2] = {0, 0};  // In pixels; in units of 200 px as in the official recipe.
  float box_score = 1;
  double area = 0;          // prod(scale * 200).
  Affine heatmap_to_image;  // Maps heatmap pixels to picture pixels.
  bool substitute = false;  // True if the data here belongs to another person, whose picture is good.
  int64_t category_id = 1;
};

// The memory for one sample. An empty span is skipped.
struct SampleTarget {
  std::span<float> image;     // [H, W, 3], normalised.
  std::span<uint8_t> rgb;     // [H, W, 3], R G B before normalisation.
  std::span<uint8_t> source;  // A slot from which a device makes the image (core/crop_slot.h).
  std::span<float> heatmap;   // [H/4, W/4, K].
  std::span<double> profile;  // [W/4 + H/4, K]: the factors of the heatmap (data/crops/targets.h).
  std::span<float> weight;    // [K]; must not be empty.
};

// Seconds spent on samples by stage, and where their pixels came from.
struct SampleClock {
  double read = 0, decode = 0, warp = 0, targets = 0;
  uint64_t samples = 0, decoded = 0, cached = 0, packed = 0;
  SampleClock& operator+=(const SampleClock& other);
};

// The reusable memory and the clock with which a thread makes samples. Each thread needs its own.
struct SampleWorkspace {
  ImageDecoder decoder;
  std::vector<std::byte> file;
  std::string place;
  // The cause of an Error that occurs at this point, for the report of a bad picture.
  BadSamples::Cause stage = BadSamples::Cause::other;
  SampleClock clock;
  // True: the clock counts the processor time of the thread in place of wall time, for busy machines.
  bool cpu_time = false;
};

struct Sample {
  std::vector<float> image;   // [H, W, 3], normalised.
  std::vector<float> target;  // [H/4, W/4, K].
  std::vector<float> weight;  // [K].
  SampleMeta meta;
};

// Counts the annotations or detections that were kept or left out, by reason.
struct DatasetCounts {
  size_t entries = 0, kept = 0;
  size_t crowd = 0, other_category = 0, without_joints = 0, bad_box = 0;  // Of annotations.
  size_t zero_area = 0, empty_box = 0, outside = 0;  // The reasons of bad_box, if they are known (not in packs).
  size_t low_score = 0, unknown_image = 0;           // Of detections.
  size_t bad_picture = 0;                            // Removed by drop_bad.
  std::string summary() const;  // For example "14 annotations: 12 kept, 1 crowd, 1 without labelled joints".
  std::string noun = "annotations";
};

class PoseDataset {
 public:
  // Makes people from ground-truth boxes, in the order of the images and then of the annotations. official keeps a
  // person of the requested categories that is not a crowd, whose area is above 0, whose clipped box is not empty, and
  // of whom some keypoint number is above 0. seed keeps a person of the categories with w > 0 and h > 0 and some
  // keypoint number above 0 (crowds too). Labelled people whose box cannot be used are named in bad(). Throws Error
  // with the counts if no people are left. For `pictures` see open_pictures.
  static PoseDataset from_annotations(CocoAnnotations annotations, const fs::path& pictures, const Skeleton& skeleton,
                                      DatasetOptions options);
  static PoseDataset from_annotations(CocoAnnotations annotations, std::shared_ptr<const PictureSource> pictures,
                                      const Skeleton& skeleton, DatasetOptions options);
  // Makes people from a detector, in the order of the list: those of the requested categories with score >= min_score
  // and a box that is not empty (it is not clipped).
  static PoseDataset from_detections(CocoAnnotations annotations, const std::vector<CocoDetection>& detections,
                                     const fs::path& pictures, const Skeleton& skeleton, DatasetOptions options,
                                     double min_score = 0);

  // Makes a dataset of people that were selected before (those of a pack), with the counts of that selection.
  static PoseDataset from_people(CocoAnnotations annotations, std::vector<Person> people, DatasetCounts counts,
                                 std::shared_ptr<const PictureSource> pictures, const Skeleton& skeleton,
                                 DatasetOptions options);

  // Makes MPII's people in the order of the file, because PCKh needs all of them. annotations() has one entry per
  // person with id = position in the file + 1, joints in pixels counted from 0, and a box of the annotated size.
  // Official recipe only.
  static PoseDataset from_mpii(const MpiiAnnotations& people, const fs::path& pictures, const Skeleton& skeleton,
                               DatasetOptions options);

  size_t size() const { return people_.size(); }
  // Returns a sample, which is a pure function of (options().seed, epoch, index). Thread-safe. Throws Error that names
  // the file of the picture.
  Sample sample(size_t index, uint64_t epoch) const;
  // Writes the sample into the caller's memory: image H*W*3, target H/4*W/4*K, weight K.
  void sample_into(size_t index, uint64_t epoch, std::span<float> image, std::span<float> target,
                   std::span<float> weight, SampleMeta& meta) const;
  // Makes several samples. People of the same picture share its decoding if that is cheaper. Every sample has the same
  // bytes as if it were made alone. indices, targets and metas have one element per sample.
  void samples_into(std::span<const size_t> indices, uint64_t epoch, std::span<const SampleTarget> targets,
                    std::span<SampleMeta> metas, SampleWorkspace& workspace) const;
  // Returns the pixels of an element of annotations().images, at least `region`; valid until the workspace decodes
  // again.
  ImageView decode(int image_index, const Region& region, SampleWorkspace& workspace) const;
  // Returns what the network sees of a person, before normalisation (R, G, B).
  Image crop(size_t index, uint64_t epoch) const;

  // How a person is placed in the crop of an epoch, and the values that were drawn for it.
  struct Placed {
    Placement placement;
    Augmentation augmentation;
  };
  Placed placed(size_t index, uint64_t epoch) const;
  // Returns the part of the picture that the crops of this person can show in any epoch.
  Region reach(size_t index) const;

  const std::vector<Person>& people() const { return people_; }
  const Skeleton& skeleton() const { return skeleton_; }
  const DatasetOptions& options() const { return options_; }
  const CocoAnnotations& annotations() const { return annotations_; }
  const DatasetCounts& counts() const { return counts_; }
  const PictureSource& pictures() const { return *pictures_; }
  BadSamples& bad() const { return *bad_; }  // Shared by copies of this object; thread-safe.
  // Returns the remarks so far, which stop nothing: pictures that were found under other names, damaged data, joints
  // beyond the picture. The sentences have no fixed order; a program should print those that it has not printed yet.
  std::vector<std::string> remarks() const;

  // Checks every picture of the people: it exists, its header can be read, and its size is that of the annotation and
  // below the limit. A picture whose end looks cut off is decoded. Bad pictures are added to bad(). Sizes that the
  // annotations lack are filled in. threads 0 uses every core.
  void check_pictures(int threads = 0, const std::function<void(size_t done, size_t all)>& progress = {});
  // Removes the people of pictures in bad(); the others keep their order. Throws Error if none are left, with how many
  // pictures are bad for which cause, and the first one.
  void drop_bad();

 private:
  class Cache;
  PoseDataset(CocoAnnotations annotations, std::shared_ptr<const PictureSource> pictures, const Skeleton& skeleton,
              DatasetOptions options);
  void index_people();
  Placed placed(size_t index, uint64_t epoch, int image_width) const;
  int image_width(int image_index, SampleWorkspace& workspace) const;
  PictureInfo open(int image_index, SampleWorkspace& workspace) const;
  struct OfOnePicture;
  void make_together(OfOnePicture samples, uint64_t epoch) const;
  std::vector<size_t> make_from_memory(const OfOnePicture& samples) const;
  bool make_and_cache(const OfOnePicture& samples, std::span<const size_t> left) const;
  void make_sample(const OfOnePicture& samples, size_t i, const ImageView& view) const;
  // Takes the size of a picture with this many people from its header. Returns false if it cannot be read; it is then
  // in bad().
  bool learn_size(int image_index, size_t people);
  void look_at_picture(int image_index, ImageDecoder& decoder);
  void look_at_joints(int image_index, const PictureInfo& info, const std::string& place) const;
  void judge_damage(int image_index, const std::string& place, const std::string& damage) const;
  std::string all_bad() const;
  bool bad_picture(int image_index) const;
  void note_bad(int image_index, const std::string& why, BadSamples::Cause cause) const;

  CocoAnnotations annotations_;
  std::shared_ptr<const PictureSource> pictures_;
  Skeleton skeleton_;
  DatasetOptions options_;
  std::vector<Person> people_;
  std::vector<std::vector<uint32_t>> people_of_;  // By image index.
  DatasetCounts counts_;
  std::shared_ptr<Cache> cache_;  // Shared by copies; thread-safe.
  std::shared_ptr<BadSamples> bad_;
  std::shared_ptr<Remarks> remarks_;  // Shared by copies.
};

}  // namespace hr
