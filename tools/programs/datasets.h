// The people that programs train on, pack and show: where they come from, what is drawn for them, what becomes of bad
// ones. Flags and opening, shared by train, validate, pack, browse and bench.
#pragma once
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "data/dataset.h"

namespace hr {

struct DataOptions {
  std::string data_path = "/data/coco2017", dataset = "auto";
  std::string train_annotations, train_images, val_annotations, val_images;
  std::string recipe = "official", codec = "quarter";
  std::vector<std::string> categories{"1"};  // ids, names, or "all"
  std::string on_bad_sample;                 // fail, skip; empty: fail in the check before the start, skip afterwards
  double max_megapixels = 268;
  double scale_factor = 0.35, rot_factor = 45, prob_half_body = 0.3, photometric = 0, coarse_dropout = 0;
  bool no_augment = false;
  int cache_mib = 2048;
  uint64_t seed = 0;
};
// --data-path, --train-annotations, --train-images, --val-annotations, --val-images, --recipe, --categories,
// --on-bad-sample, --max-megapixels, --dataset; for training also --seed, --codec and what concerns augmentation and
// the cache; for validation nothing of the training split.
enum class DataFlags { training, plain, validation };
void add_data_options(CLI::App& app, DataOptions& options, DataFlags flags = DataFlags::training);

// What one split is read from.
struct SplitFiles {
  enum class Kind { coco, crowdpose, mpii } kind = Kind::coco;
  fs::path annotations, images;
};
const char* kind_name(SplitFiles::Kind kind);
// The files of "train" or "val" that are named outright, else the first that --data-path has. --dataset auto looks at
// all of these, coco, mpii and crowdpose at one kind:
//   COCO       annotations/person_keypoints_{train,val}2017.json or coco_wholebody_{train,val}_v1.0.json
//   MPII       annot/{train,valid}.json
//   CrowdPose  annotations/mmpose_crowdpose_{trainval,test}.json, json/crowdpose_{trainval,test}.json or beside it
// with pictures in {split}2017 or images/{split}2017 (COCO) or images, folders or .zip files. A list is MPII; an object
// whose first image has a crowdIndex is CrowdPose. Error says which flag, and what was looked for.
SplitFiles find_split(const DataOptions& options, const std::string& split);
// The people come from a pack and not from files that are named.
bool reads_pack(const DataOptions& options, const std::string& split);

// The skeleton: what --keypoints-path says (a built-in name, a file, or `categories` for what the annotation file of
// the split says); else a pack's own, MPII's for MPII's JSON, and COCO's otherwise.
Skeleton data_skeleton(const DataOptions& options, const std::string& keypoints_path,
                       const std::string& split = "train");

// What --categories says: ids, names of the annotation file's categories, or `all` (then empty).
std::vector<int64_t> category_ids(const std::vector<std::string>& texts, const fs::path& annotations);

DatasetOptions dataset_options(const DataOptions& options, int input_h, int input_w, double sigma, bool augment,
                               bool bgr = false, const std::string& split = "train");

// Detected boxes instead of the annotated ones, and those with a lower score are left out. A list of images without
// annotations is enough then.
struct DetectedBoxes {
  std::string file;
  double least_score = 0;
};
// The people of "train" or "val": from a pack, or from the files of find_split. Annotations that cannot be used are in
// bad(). Error says which flag, and what was expected where. doubt: gets what is odd about the detected boxes.
PoseDataset open_split(const DataOptions& options, const std::string& split, const Skeleton& skeleton,
                       DatasetOptions dataset, const DetectedBoxes& boxes = {}, std::string* doubt = nullptr);

// The check before the start: looks at every picture (PoseDataset::check_pictures), with progress. Bad samples are
// written to {folder}/bad_samples_{split}.tsv, if a folder is given; then they are an Error, or with skip left out and
// counted on stdout. quiet: nothing is printed (ranks after the first).
void check_samples(PoseDataset& dataset, const DataOptions& options, const std::string& split, const fs::path& folder,
                   int threads = 0, bool quiet = false);
fs::path bad_samples_file(const fs::path& folder, const std::string& split);

}  // namespace hr
