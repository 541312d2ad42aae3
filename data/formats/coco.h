// COCO person_keypoints annotation files and detection files: read in one pass (they are large), written for synthetic
// sets. Facts kept as they stand in the file; which people train or count is decided elsewhere (dataset.h, eval/).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "data/formats/bad_samples.h"
#include "data/formats/skeleton.h"

namespace hr {

struct Box {
  double x = 0, y = 0, w = 0, h = 0;  // pixels, image frame, top-left corner and size
};

struct CocoImage {
  int64_t id = 0;
  std::string file_name;
  int width = 0, height = 0;
  double crowd_index = -1;  // CrowdPose's crowdIndex, 0 to 1; -1 when the file has none
};

// Fields that the evaluation needs, as bits of what an entry lacks: they are absent or not of their type.
namespace coco_field {
inline constexpr uint8_t area = 1, iscrowd = 2, num_keypoints = 4, category = 8, box = 16, keypoints = 32, score = 64;
}

struct CocoAnnotation {
  int64_t id = 0, image_id = 0, category_id = 1;
  Box box;
  double area = 0;  // square pixels; of the box when the file has none
  bool iscrowd = false, has_area = true;
  int num_keypoints = 0;          // the field as written
  std::vector<double> keypoints;  // x, y, v per joint; empty when the annotation has none
  uint8_t lacks = 0;              // coco_field bits: what the file does not say and a default stands for
};

struct CocoCategory {
  int64_t id = 1;
  std::string name;
  std::vector<std::string> keypoints;
  std::vector<std::pair<int, int>> skeleton;  // 1-based, as in the file
  std::string trouble = {};                   // why `keypoints` could not be read; told when they are needed
};

struct CocoAnnotations {
  std::string path;  // for messages
  std::vector<CocoImage> images;
  std::vector<CocoAnnotation> annotations;
  std::vector<CocoCategory> categories;
};

// Error: "path:line:column: ..." for malformed JSON; path plus the entry's index for an entry that cannot be used: a
// needed field that is missing or wrong, an annotation whose keypoints do not have joints*3 numbers, an annotation of
// an unknown image, a repeated id. What is not needed is not judged: sizes of pictures, num_keypoints and a category's
// limbs count as absent when they are no such thing, and so do an area and iscrowd of null; so is where an unlabelled
// joint would be. joints = 0 accepts any (equal) length. When `keypoints` is shorter than that, COCO-WholeBody's
// separate lists are appended: foot_kpts, face_kpts, lefthand_kpts, righthand_kpts; visibilities there count as 0, 1 or
// 2, and as 0 where the part's *_valid says no. `bad`: entries that cannot be used, whatever is wrong with them, are
// named there and left out. `categories`: whose boxes and joints are needed when joints are asked for; empty: every
// category's, and a person without keypoints is then no bad one.
CocoAnnotations read_coco(const fs::path& path, int joints = 0, BadSamples* bad = nullptr,
                          const std::vector<int64_t>& categories = {1});

// The categories alone, from the same kind of file.
std::vector<CocoCategory> read_coco_categories(const fs::path& path);

// The skeleton that a category describes (skeleton_from_names). category_id 0: the only category that names keypoints,
// or several that name the same ones. Error when there is none, or no such category.
Skeleton category_skeleton(std::span<const CocoCategory> categories, const std::string& path, int64_t category_id = 0,
                           int* dropped_limbs = nullptr);

// One entry of a detection or keypoint result file: a JSON list of {image_id, category_id, bbox | keypoints, score}.
struct CocoDetection {
  int64_t image_id = 0, category_id = 1;
  Box box;                        // when the entry has bbox
  std::vector<double> keypoints;  // x, y, score per joint, when the entry has keypoints
  double score = 0;
  bool has_box = false;
  uint8_t lacks = 0;  // coco_field bits
};
std::vector<CocoDetection> read_coco_detections(const fs::path& path);

// Writes a file that read_coco and pycocotools read.
void write_coco(const fs::path& path, const CocoAnnotations& annotations);

}  // namespace hr
