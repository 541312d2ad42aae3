// From people in pictures to samples: which people a recipe keeps, and one sample as a pure function of
// (seed, epoch, index).
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/augment.h"
#include "data/coco.h"
#include "data/geometry.h"
#include "data/image.h"
#include "data/skeleton.h"

namespace hr {

struct DatasetOptions {
  Recipe recipe = Recipe::official;
  int input_h = 256, input_w = 192;
  double sigma = 2;
  bool augment = false;
  uint64_t seed = 0;
  AugmentOptions augmentation{};
  bool bgr = false;                        // the published PoseResNet weights want B, G, R
  size_t cache_bytes = size_t{512} << 20;  // decoded pictures kept in memory; 0 keeps none
};

struct Person {
  int64_t image_id = 0, annotation_id = 0;  // annotation_id 0 for detections
  int image_index = 0;                      // in annotations().images
  Box box;                                  // official: clipped (annotations) or as detected; seed: as annotated
  float box_score = 1;
  std::vector<float> joints;  // [K][x, y, v] in picture pixels as annotated; empty for detections
};

struct SampleMeta {
  int64_t image_id = 0, annotation_id = 0;
  size_t index = 0;
  float center[2] = {0, 0}, scale[2] = {0, 0};  // pixels; units of 200 px, as official
  float box_score = 1;
  double area = 0;          // prod(scale * 200)
  Affine heatmap_to_image;  // heatmap pixels -> picture pixels
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
  size_t low_score = 0, unknown_image = 0;                                // detections
  std::string summary() const;  // "14 annotations: 12 kept, 1 crowd, 1 without labelled joints"
  std::string noun = "annotations";
};

class PoseDataset {
 public:
  // People from ground-truth boxes, in the order of the images and then of the annotations. official keeps: category 1,
  // not crowd, area > 0, a clipped box with an extent, some keypoint number > 0. seed keeps: category 1, w > 0 and h >
  // 0, some keypoint number > 0 (crowds too). Error when nobody is left, with the counts.
  static PoseDataset from_annotations(CocoAnnotations annotations, fs::path image_folder, const Skeleton& skeleton,
                                      DatasetOptions options);
  // People from a detector, in the order of the list: category 1, score >= min_score, a box with an extent (not
  // clipped).
  static PoseDataset from_detections(CocoAnnotations annotations, const std::vector<CocoDetection>& detections,
                                     fs::path image_folder, const Skeleton& skeleton, DatasetOptions options,
                                     double min_score = 0);

  size_t size() const { return people_.size(); }
  // A pure function of (options().seed, epoch, index). Error names the picture's file.
  Sample sample(size_t index, uint64_t epoch) const;
  // The same into the caller's memory: image H*W*3, target H/4*W/4*K, weight K.
  void sample_into(size_t index, uint64_t epoch, std::span<float> image, std::span<float> target,
                   std::span<float> weight, SampleMeta& meta) const;
  // What the network sees of a person, before normalisation (R, G, B).
  Image crop(size_t index, uint64_t epoch) const;

  const std::vector<Person>& people() const { return people_; }
  const Skeleton& skeleton() const { return skeleton_; }
  const DatasetOptions& options() const { return options_; }
  const CocoAnnotations& annotations() const { return annotations_; }
  const DatasetCounts& counts() const { return counts_; }
  fs::path image_path(int image_index) const;

  // Every picture that people refer to exists and is not empty; Error names the first that does not and how many.
  void check_files() const;

 private:
  class Cache;
  PoseDataset(CocoAnnotations annotations, fs::path image_folder, const Skeleton& skeleton, DatasetOptions options);
  Placement place(size_t index, uint64_t epoch, int image_width) const;
  std::shared_ptr<const Image> picture(int image_index) const;

  CocoAnnotations annotations_;
  fs::path image_folder_;
  Skeleton skeleton_;
  DatasetOptions options_;
  std::vector<Person> people_;
  DatasetCounts counts_;
  std::shared_ptr<Cache> cache_;  // shared by copies; thread-safe
};

}  // namespace hr
