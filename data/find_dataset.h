// The people that one trains on, packs and shows: where they come from, what is drawn for them, what becomes of bad
// ones. The one place that finds data sets, for all programs and for library users.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace hr {

// Plain settings; errors name them by these fields.
struct DataOptions {
  std::string data_path = "/data/coco2017", dataset = "auto";
  std::string train_annotations, train_images, val_annotations, val_images;
  std::string recipe = "official", codec = "quarter";
  std::vector<std::string> categories{"1"};  // ids, names, or "all"
  std::string on_bad_sample;                 // fail, skip; empty: fail in the check before the start, skip afterwards
  double max_megapixels = 268;
  double scale_factor = 0.35, rot_factor = 45, prob_half_body = 0.3, photometric = 0, coarse_dropout = 0;
  bool mirror = true;        // augmentation: mirrors half of the people
  int half_body_joints = 8;  // augmentation, official recipe: half body only with more labelled joints than this
  bool no_augment = false;
  int cache_mib = 2048;
  uint64_t seed = 0;
};
// These are the files from which one split is read.
struct SplitFiles {
  enum class Kind { coco, crowdpose, mpii } kind = Kind::coco;
  fs::path annotations, images;
};
const char* kind_name(SplitFiles::Kind kind);
// The files of "train" or "val" that are named outright, else the first that data_path has. `dataset` auto looks at all
// of these, coco, mpii and crowdpose at one kind:
//   COCO       annotations/person_keypoints_{train,val}2017.json or coco_wholebody_{train,val}_v1.0.json
//   MPII       annot/{train,valid}.json
//   CrowdPose  annotations/mmpose_crowdpose_{trainval,test}.json, json/crowdpose_{trainval,test}.json or beside it
// with pictures in {split}2017 or images/{split}2017 (COCO) or images, folders or .zip files. A list is MPII; an object
// whose first image has a crowdIndex is CrowdPose. Throws Error that names the setting and says what was looked for.
SplitFiles find_split(const DataOptions& options, const std::string& split);
// The people come from a pack and not from files that are named.
bool reads_pack(const DataOptions& options, const std::string& split);

// Gets one sentence about something odd that stops nothing.
using Remark = std::function<void(const std::string& text)>;

// The skeleton: what `keypoints_path` says (a built-in name, a file, or "categories" for what the annotation file of
// the split says); else a pack's own, MPII's for MPII's JSON, and COCO's otherwise.
Skeleton data_skeleton(const DataOptions& options, const std::string& keypoints_path,
                       const std::string& split = "train", const Remark& remark = {});

// The categories of these texts: ids, names of the annotation file's categories, or `all` (then empty).
std::vector<int64_t> category_ids(const std::vector<std::string>& texts, const fs::path& annotations);

// The joints that an annotation file is evaluated with when nobody says otherwise: CrowdPose's 14, those that its
// category names, else COCO's 17 (whose sigmas any other 17 joints get, as pycocotools has it). sigmas_assumed is set
// when the file names joints whose sigmas are not known.
Skeleton skeleton_of(const CocoAnnotations& gt, bool crowdpose);
// Returns true if every image has a crowdIndex.
bool has_crowd_index(const CocoAnnotations& gt);

// The sigma that is asked for, in heatmap pixels, else the official 2 for inputs of less than 384 rows and 3 for
// others.
double heatmap_sigma(double asked, int input_h);

DatasetOptions dataset_options(const DataOptions& options, int input_h, int input_w, double sigma, bool augment,
                               bool bgr = false, const std::string& split = "train");

// Detected boxes instead of the annotated ones; those with a score below least_score are left out. A list of images
// without annotations is enough then, and is given in `pictures`. hrnet/validate/detected_boxes.h reads them.
struct DetectedBoxes {
  std::string file;  // empty: the annotated boxes
  std::vector<CocoDetection> boxes;
  double least_score = 0;
  std::optional<CocoAnnotations> pictures;
};
// The people of "train" or "val": from a pack, or from the files of find_split. Annotations that cannot be used are in
// bad(). Throws Error that names the setting, or the file and what was expected where.
PoseDataset open_split(const DataOptions& options, const std::string& split, const Skeleton& skeleton,
                       DatasetOptions dataset, const DetectedBoxes& boxes = {});

// The check before the start: looks at every picture (PoseDataset::check_pictures) and hands on what it remarks. Bad
// samples are written to {folder}/bad_samples_{split}.tsv, if a folder is given. Throws Error if there are some, unless
// on_bad_sample is "skip": they are left out then, and what was left out is returned in words; empty: nothing.
std::string check_samples(PoseDataset& dataset, const DataOptions& options, const std::string& split,
                          const fs::path& folder, int threads = 0,
                          const std::function<void(size_t done, size_t all)>& progress = {}, const Remark& remark = {});
fs::path bad_samples_file(const fs::path& folder, const std::string& split);

}  // namespace hr
