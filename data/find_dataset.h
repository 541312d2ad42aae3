// Finds and opens data sets, for all programs and for users of the library: the files, the skeleton and the categories
// of the people, their augmentation, and the treatment of bad samples.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace hr {

// The settings of a data set. Errors name a setting by its field.
struct DataOptions {
  std::string data_path = "/data/coco2017", dataset = "auto";
  std::string train_annotations, train_images, val_annotations, val_images;
  std::string recipe = "official", codec = "quarter";
  std::vector<std::string> categories{"1"};  // ids, names, or "all"
  std::string on_bad_sample;                 // fail, skip; empty: fail in the check before the start, skip afterwards
  double max_megapixels = 268;
  double scale_factor = 0.35, rot_factor = 45, prob_half_body = 0.3, photometric = 0, coarse_dropout = 0;
  bool mirror = true;        // Mirrors half of the people.
  int half_body_joints = 8;  // The official recipe crops to half a body only if more joints than this are labelled.
  bool no_augment = false;
  int cache_mib = 2048;
  uint64_t seed = 0;
};
// The files from which one split is read.
struct SplitFiles {
  enum class Kind { coco, crowdpose, mpii } kind = Kind::coco;
  fs::path annotations, images;
};
const char* kind_name(SplitFiles::Kind kind);
// Returns the files of the split "train" or "val". Files that the options name are used. Otherwise the first of these
// annotation files that exists below data_path is used; if `dataset` is not "auto", only those of its kind:
//   COCO       annotations/person_keypoints_{train,val}2017.json or coco_wholebody_{train,val}_v1.0.json
//   MPII       annot/{train,valid}.json
//   CrowdPose  annotations/mmpose_crowdpose_{trainval,test}.json, json/crowdpose_{trainval,test}.json, or the latter
//              outside of json/
// Pictures are in {split}2017 or images/{split}2017 (COCO) or in images (the others), each a folder or a .zip file. The
// kind of a named annotation file follows from its content: MPII's is a list, and the first image of CrowdPose's has a
// crowdIndex. Throws Error that names the setting and says which files were looked for.
SplitFiles find_split(const DataOptions& options, const std::string& split);
// Returns true if the people come from a pack, that is, if data_path is a pack and no files are named.
bool reads_pack(const DataOptions& options, const std::string& split);

// Receives one sentence about an oddity in the data that is not an error.
using Remark = std::function<void(const std::string& text)>;

// Returns the skeleton that `keypoints_path` selects: the name of a built-in skeleton, a file, or "categories" for the
// skeleton in the annotation file of the split. If it is empty, returns the skeleton of a pack, MPII's for annotations
// of MPII, or else COCO's. Throws Error if there is no such skeleton.
Skeleton data_skeleton(const DataOptions& options, const std::string& keypoints_path,
                       const std::string& split = "train", const Remark& remark = {});

// Converts texts to category ids. A text is an id or the name of a category in the annotation file. The single text
// "all" gives an empty list. Throws Error with the field categories for an unknown name.
std::vector<int64_t> category_ids(const std::vector<std::string>& texts, const fs::path& annotations);

// Returns the skeleton with which an annotation file is evaluated by default: CrowdPose's 14 joints, the joints that
// its category names, or else COCO's 17. Any 17 joints get COCO's sigmas, as in pycocotools. sigmas_assumed is set if
// the file names joints whose sigmas are not known.
Skeleton skeleton_of(const CocoAnnotations& gt, bool crowdpose);
// Returns true if every image has a crowdIndex.
bool has_crowd_index(const CocoAnnotations& gt);

// Returns `asked`, a sigma in heatmap pixels, if it is above 0. Otherwise returns the official sigma: 2 for inputs of
// less than 384 rows, 3 for larger ones.
double heatmap_sigma(double asked, int input_h);

DatasetOptions dataset_options(const DataOptions& options, int input_h, int input_w, double sigma, bool augment,
                               bool bgr = false, const std::string& split = "train");

// The boxes of a detector, which are used instead of the annotated ones. Boxes with a score below least_score are left
// out. They do not need annotations; then `pictures` holds the list of images. hrnet/validate/detected_boxes.h reads
// them.
struct DetectedBoxes {
  std::string file;  // If empty, the annotated boxes are used.
  std::vector<CocoDetection> boxes;
  double least_score = 0;
  std::optional<CocoAnnotations> pictures;
};
// Opens the people of "train" or "val", from a pack or from the files that find_split() returns. PoseDataset::bad()
// lists the annotations that cannot be used. Throws Error that names the setting, or the file, the place in it and what
// was expected.
PoseDataset open_split(const DataOptions& options, const std::string& split, const Skeleton& skeleton,
                       DatasetOptions dataset, const DetectedBoxes& boxes = {});

// Checks every picture before the work starts (PoseDataset::check_pictures) and passes its remarks on. If `folder` is
// not empty, bad samples are listed in {folder}/bad_samples_{split}.tsv. If on_bad_sample is "skip", bad samples are
// left out, and a sentence that describes them is returned, which is empty if there are none. Otherwise throws Error if
// there are bad samples.
std::string check_samples(PoseDataset& dataset, const DataOptions& options, const std::string& split,
                          const fs::path& folder, int threads = 0,
                          const std::function<void(size_t done, size_t all)>& progress = {}, const Remark& remark = {});
fs::path bad_samples_file(const fs::path& folder, const std::string& split);

}  // namespace hr
