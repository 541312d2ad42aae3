// From people in pictures to samples: which people a recipe keeps, and one sample as a pure function of
// (seed, epoch, index).
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
  bool bgr = false;                        // the published PoseResNet weights want B, G, R
  size_t cache_bytes = size_t{512} << 20;  // decoded parts of pictures kept in memory; 0 keeps none
  Encoding encoding = Encoding::quarter;
  std::vector<int64_t> categories{1};       // whom to keep; empty: every category
  int64_t max_pixels = default_max_pixels;  // larger pictures are refused before they take memory
  // A picture that turns out bad in an epoch: false, an Error; true, the next person whose picture is good takes the
  // place (SampleMeta::substitute says so) and the picture is noted in bad().
  bool substitute_bad = false;
  // A JPEG whose data the reader warns of: false, it is used and remarks() names it; true, it is a bad picture, and
  // check_pictures() reads every picture to its end to find out.
  bool refuse_damaged = false;
};

struct Person {
  int64_t image_id = 0, annotation_id = 0;  // annotation_id 0 for detections
  int image_index = 0;                      // in annotations().images
  Box box;                                  // official: clipped (annotations) or as detected; seed: as annotated
  float box_score = 1;
  std::vector<float> joints;       // [K][x, y, v] in picture pixels as annotated; empty for detections
  std::optional<MpiiPlace> place;  // MPII: where the person is, instead of what follows from the box
  int64_t category_id = 1;         // of the annotation or the detection
};

struct SampleMeta {
  int64_t image_id = 0, annotation_id = 0;
  size_t index = 0;
  float center[2] = {0, 0}, scale[2] = {0, 0};  // pixels; units of 200 px, as official
  float box_score = 1;
  double area = 0;          // prod(scale * 200)
  Affine heatmap_to_image;  // heatmap pixels -> picture pixels
  bool substitute = false;  // everything else here is of the person who took the place
  int64_t category_id = 1;
};

// Where one sample goes; what is left empty is not made.
struct SampleTarget {
  std::span<float> image;     // [H, W, 3], normalised
  std::span<uint8_t> rgb;     // [H, W, 3], R G B before normalisation
  std::span<uint8_t> source;  // a slot that a device makes the image from (core/crop_slot.h)
  std::span<float> heatmap;   // [H/4, W/4, K]
  std::span<double> profile;  // [W/4 + H/4, K]: what the heatmap is the product of (data/crops/targets.h)
  std::span<float> weight;    // [K]; needed
};

// Seconds spent on samples, by stage, and where pixels came from.
struct SampleClock {
  double read = 0, decode = 0, warp = 0, targets = 0;
  uint64_t samples = 0, decoded = 0, cached = 0, packed = 0;
  SampleClock& operator+=(const SampleClock& other);
};

// What a thread needs to make samples: memory to use again, and its clock. One per thread.
struct SampleWorkspace {
  ImageDecoder decoder;
  std::vector<std::byte> file;
  std::string place;
  BadSamples::Cause stage = BadSamples::Cause::other;  // what an Error would mean for the picture at hand
  SampleClock clock;
  bool cpu_time = false;  // the clock counts the thread's own time instead of what passes: for busy machines
};

struct Sample {
  std::vector<float> image;   // [H, W, 3], normalised
  std::vector<float> target;  // [H/4, W/4, K]
  std::vector<float> weight;  // [K]
  SampleMeta meta;
};

// What became of the annotations or detections.
struct DatasetCounts {
  size_t entries = 0, kept = 0;
  size_t crowd = 0, other_category = 0, without_joints = 0, bad_box = 0;  // annotations
  size_t zero_area = 0, empty_box = 0, outside = 0;  // of bad_box, where it is known (not in packs)
  size_t low_score = 0, unknown_image = 0;           // detections
  size_t bad_picture = 0;                            // dropped by drop_bad
  std::string summary() const;                       // "14 annotations: 12 kept, 1 crowd, 1 without labelled joints"
  std::string noun = "annotations";
};

class PoseDataset {
 public:
  // People from ground-truth boxes, in the order of the images and then of the annotations. official keeps: the
  // categories asked for, not crowd, area > 0, a clipped box with an extent, some keypoint number > 0. seed keeps: the
  // categories, w > 0 and h > 0, some keypoint number > 0 (crowds too). Labelled people whose box is of no use are
  // named in bad(). Error when nobody is left, with the counts. `pictures`: see open_pictures.
  static PoseDataset from_annotations(CocoAnnotations annotations, const fs::path& pictures, const Skeleton& skeleton,
                                      DatasetOptions options);
  static PoseDataset from_annotations(CocoAnnotations annotations, std::shared_ptr<const PictureSource> pictures,
                                      const Skeleton& skeleton, DatasetOptions options);
  // People from a detector, in the order of the list: the categories asked for, score >= min_score, a box with an
  // extent (not clipped).
  static PoseDataset from_detections(CocoAnnotations annotations, const std::vector<CocoDetection>& detections,
                                     const fs::path& pictures, const Skeleton& skeleton, DatasetOptions options,
                                     double min_score = 0);

  // People that were chosen before (a pack's), with the counts of that choice.
  static PoseDataset from_people(CocoAnnotations annotations, std::vector<Person> people, DatasetCounts counts,
                                 std::shared_ptr<const PictureSource> pictures, const Skeleton& skeleton,
                                 DatasetOptions options);

  // MPII's people in the order of the file (PCKh needs them all). annotations(): one entry per person with id = place
  // in the file + 1, joints in pixels counted from 0, a box of the annotated size. Official recipe only.
  static PoseDataset from_mpii(const MpiiAnnotations& people, const fs::path& pictures, const Skeleton& skeleton,
                               DatasetOptions options);

  size_t size() const { return people_.size(); }
  // A pure function of (options().seed, epoch, index). Error names the picture's file.
  Sample sample(size_t index, uint64_t epoch) const;
  // The same into the caller's memory: image H*W*3, target H/4*W/4*K, weight K.
  void sample_into(size_t index, uint64_t epoch, std::span<float> image, std::span<float> target,
                   std::span<float> weight, SampleMeta& meta) const;
  // Several samples: people of one picture share its decoding where that is cheaper. Every sample has the same bytes as
  // by itself. indices, targets, metas: one per sample.
  void samples_into(std::span<const size_t> indices, uint64_t epoch, std::span<const SampleTarget> targets,
                    std::span<SampleMeta> metas, SampleWorkspace& workspace) const;
  // The pixels of one of annotations().images, at least `region`; valid until the workspace decodes again.
  ImageView decode(int image_index, const Region& region, SampleWorkspace& workspace) const;
  // What the network sees of a person, before normalisation (R, G, B).
  Image crop(size_t index, uint64_t epoch) const;

  // How a person is placed in an epoch's crop, and what was drawn.
  struct Placed {
    Placement placement;
    Augmentation augmentation;
  };
  Placed placed(size_t index, uint64_t epoch) const;
  // The part of its picture that this person's crops can show in any epoch.
  Region reach(size_t index) const;

  const std::vector<Person>& people() const { return people_; }
  const Skeleton& skeleton() const { return skeleton_; }
  const DatasetOptions& options() const { return options_; }
  const CocoAnnotations& annotations() const { return annotations_; }
  const DatasetCounts& counts() const { return counts_; }
  const PictureSource& pictures() const { return *pictures_; }
  std::string image_path(int image_index) const;  // for messages
  BadSamples& bad() const { return *bad_; }       // shared by copies; thread-safe
  // Returns the remarks so far, which stop nothing: pictures found under other names, damaged data, joints beyond the
  // picture. The sentences have no fixed order; a program prints those that it has not printed yet.
  std::vector<std::string> remarks() const;

  // Every picture that people refer to exists and is not empty; Error names the first that does not and how many.
  void check_files() const;
  // A look at every picture that people refer to: it is there, its header can be read, its size is the annotation's
  // and below the limit; one whose end looks cut off is decoded. What is bad goes to bad(). Sizes that the annotations
  // lack are filled in. threads 0: every core.
  void check_pictures(int threads = 0, const std::function<void(size_t done, size_t all)>& progress = {});
  // People of pictures in bad() leave; the others keep their order. Error when nobody is left: how many pictures are
  // bad for which cause, and the first.
  void drop_bad();

 private:
  class Cache;
  PoseDataset(CocoAnnotations annotations, std::shared_ptr<const PictureSource> pictures, const Skeleton& skeleton,
              DatasetOptions options);
  void index_people();
  Placed placed(size_t index, uint64_t epoch, int image_width) const;
  int image_width(int image_index, SampleWorkspace& workspace) const;
  PictureInfo open(int image_index, SampleWorkspace& workspace) const;
  void together(std::span<const size_t> indices, std::span<const size_t> members, uint64_t epoch,
                std::span<const SampleTarget> targets, std::span<SampleMeta> metas, SampleWorkspace& workspace) const;
  // Takes the size of a picture with this many people from its header; false: it cannot be read and is in bad().
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
  std::vector<std::vector<uint32_t>> people_of_;  // by image index
  DatasetCounts counts_;
  std::shared_ptr<Cache> cache_;  // shared by copies; thread-safe
  std::shared_ptr<BadSamples> bad_;
  std::shared_ptr<Remarks> remarks_;  // shared by copies
};

}  // namespace hr
