// COCO person_keypoints annotation files and detection files. They are large and read in one pass; they are written for
// synthetic sets. The facts are kept as they stand in the file. Which people are trained or counted is decided
// elsewhere (dataset.h, eval/).
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
  double x = 0, y = 0, w = 0, h = 0;  // In pixels of the picture: top-left corner and size.
};

struct CocoImage {
  int64_t id = 0;
  std::string file_name;
  int width = 0, height = 0;
  double crowd_index = -1;  // CrowdPose's crowdIndex, 0 to 1; -1 if the file has none.
};

// Fields that the evaluation needs, as bits. A set bit says that the field is absent or of a wrong type.
namespace coco_field {
inline constexpr uint8_t area = 1, iscrowd = 2, num_keypoints = 4, category = 8, box = 16, keypoints = 32, score = 64;
}

struct CocoAnnotation {
  int64_t id = 0, image_id = 0, category_id = 1;
  Box box;
  double area = 0;  // In square pixels; that of the box if the file has none.
  bool iscrowd = false, has_area = true;
  int num_keypoints = 0;          // The field as written.
  std::vector<double> keypoints;  // x, y, v per joint; empty if the annotation has none.
  uint8_t lacks = 0;              // coco_field bits: fields that the file does not give, so that a default is used.
};

struct CocoCategory {
  int64_t id = 1;
  std::string name;
  std::vector<std::string> keypoints;
  std::vector<std::pair<int, int>> skeleton;  // Counted from 1, as in the file.
  std::string trouble = {};                   // Why `keypoints` could not be read; reported if they are needed.
};

struct CocoAnnotations {
  std::string path;  // For messages.
  std::vector<CocoImage> images;
  std::vector<CocoAnnotation> annotations;
  std::vector<CocoCategory> categories;
};

// Reads an annotation file. Throws Error "path:line:column: ..." for malformed JSON. Throws Error with the path and the
// index of the entry for an entry that cannot be used: a needed field that is missing or wrong, keypoints that are not
// joints*3 numbers, an unknown image, or a repeated id. Fields that are not needed are not judged: invalid sizes of
// pictures, num_keypoints and limbs of a category count as absent, and so do an area and iscrowd of null and the
// position of an unlabelled joint. joints = 0 accepts any (equal) length.
// If `keypoints` is shorter than that, COCO-WholeBody's separate lists are appended: foot_kpts, face_kpts,
// lefthand_kpts, righthand_kpts. Visibilities there count as 0, 1 or 2, and as 0 if the part's *_valid is false.
// `bad`: entries that cannot be used are named there and left out, whatever is wrong with them. `categories`: if joints
// are requested, those whose boxes and joints are needed; empty means every category, and a person without keypoints is
// then not bad.
CocoAnnotations read_coco(const fs::path& path, int joints = 0, BadSamples* bad = nullptr,
                          const std::vector<int64_t>& categories = {1});

// Reads only the categories of such a file.
std::vector<CocoCategory> read_coco_categories(const fs::path& path);

// Returns the skeleton that a category describes (skeleton_from_names). category_id 0 means the only category with
// keypoints, or several with the same ones. Throws Error if there is none, or no such category.
Skeleton category_skeleton(std::span<const CocoCategory> categories, const std::string& path, int64_t category_id = 0,
                           int* dropped_limbs = nullptr);

// One entry of a detection or keypoint result file, which is a JSON list of {image_id, category_id, bbox | keypoints,
// score}.
struct CocoDetection {
  int64_t image_id = 0, category_id = 1;
  Box box;                        // Only if the entry has a bbox.
  std::vector<double> keypoints;  // x, y, score per joint, if the entry has keypoints.
  double score = 0;
  bool has_box = false;
  uint8_t lacks = 0;  // coco_field bits.
};
std::vector<CocoDetection> read_coco_detections(const fs::path& path);

// Writes a file that read_coco and pycocotools can read.
void write_coco(const fs::path& path, const CocoAnnotations& annotations);

}  // namespace hr
