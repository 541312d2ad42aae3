// The people that programs train on, pack and show: where they come from, what is drawn for them, what becomes of bad
// ones. Flags and opening, shared by train, pack, browse and bench.
#pragma once
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "data/dataset.h"

namespace hr {

struct DataOptions {
  std::string data_path = "/data/coco2017";
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
// --on-bad-sample, --max-megapixels; and unless `plain` --seed, --codec and what concerns augmentation and the cache.
void add_data_options(CLI::App& app, DataOptions& options, bool plain = false);

// The skeleton: what --keypoints-path says (a built-in name, a file, or `categories` for what the annotation file
// says); else a pack's own, MPII's for MPII's JSON, and COCO's otherwise.
Skeleton data_skeleton(const DataOptions& options, const std::string& keypoints_path);

// What --categories says: ids, names of the annotation file's categories, or `all` (then empty).
std::vector<int64_t> category_ids(const std::vector<std::string>& texts, const fs::path& annotations);

DatasetOptions dataset_options(const DataOptions& options, int input_h, int input_w, double sigma, bool augment,
                               bool bgr = false);

// The people of "train" or "val": from a pack; from {root}/annotations/person_keypoints_{split}2017.json with pictures
// in {root}/{split}2017, {root}/images/{split}2017, or one of them with .zip; from MPII's
// {root}/annot/{train,valid}.json with {root}/images; or from the files named outright (COCO format or MPII's list, a
// folder or a zip). person_det: detected boxes instead of the annotated ones. Annotations that cannot be used are in
// bad(). Error says which flag, and what was expected where.
PoseDataset open_split(const DataOptions& options, const std::string& split, const Skeleton& skeleton,
                       DatasetOptions dataset, const std::string& person_det = {});

// The check before the start: looks at every picture (PoseDataset::check_pictures), with progress. Bad samples are
// written to {folder}/bad_samples_{split}.tsv, if a folder is given; then they are an Error, or with skip left out and
// counted on stdout. quiet: nothing is printed (ranks after the first).
void check_samples(PoseDataset& dataset, const DataOptions& options, const std::string& split, const fs::path& folder,
                   int threads = 0, bool quiet = false);
fs::path bad_samples_file(const fs::path& folder, const std::string& split);

}  // namespace hr
