// The complete validation of a weight file: which data, which joints, how it is decoded and post-processed, the numbers
// and the files. COCO's ten OKS numbers, CrowdPose's nine or MPII's PCKh.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/context.h"
#include "data/find_dataset.h"
#include "eval/analysis.h"
#include "hrnet/infer/decoding.h"
#include "hrnet/model/model.h"
#include "hrnet/model/model_options.h"
#include "hrnet/validate/predict_people.h"

namespace hr {

// Plain settings; errors name them by these fields.
struct ValidationOptions : ModelOptions, DataOptions {
  std::string mpii_truth;  // gt_valid.mat; empty: the one beside MPII's annotations
  std::string person_det;  // detected boxes, a COCO result list; empty: the annotated ones
  std::string output_dir = ".";
  DecodingOptions decoding;
  int batch_size = 32, workers = 2;  // people per step, loader threads
  bool soft_nms = false, no_nms = false;
  std::optional<double> in_vis_thre, oks_thre;  // 0.2 and 0.9
  double image_thre = 0;                        // detected boxes with a lower score are left out
  bool analysis = false;                        // the error analysis by joint and size too
};

// What a validation tells while it works. All members may be empty.
struct ValidationObserver {
  std::function<void(const std::string& text)> note = {};      // something that the user may want to know
  std::function<void(const std::string& text)> left_out = {};  // bad samples
  std::function<void(size_t done, size_t all)> checked = {};   // pictures, before the start
  std::function<void(const PeopleProgress&)> progress = {};
  Context::Listener listener = {};
  // How a remark is worded in validation.json, for a program whose users know the settings by other names.
  std::function<std::string(const std::string& remark)> wording = {};
};

struct ValidationReport {
  std::string summary;               // pycocotools' lines, or CrowdPose's; empty for MPII
  std::string table;                 // the official markdown table; empty: there is no truth
  std::vector<std::string> remarks;  // what makes the numbers mean less than they seem to
  std::optional<PoseAnalysis> analysis;
  std::string analysis_title;
  std::vector<std::string> written;  // files, relative to the output folder
};

class Validation {
 public:
  // Opens the data, loads the model, looks at every picture and makes the folder: everything that can fail because of
  // the user's input. Throws Error, with the field where a setting is at fault.
  explicit Validation(const ValidationOptions& options, ValidationObserver observer = {});
  ~Validation();
  Validation(const Validation&) = delete;
  Validation& operator=(const Validation&) = delete;

  // What is measured and how: ("dataset", "coco: val.json"), ("boxes", "ground truth: 104 (...)"), ...
  std::vector<std::pair<std::string, std::string>> description() const;

  // Predicts, measures and writes into output_dir
  //   validation.json    the description, the numbers in full precision, counts, seconds
  //   validation.md      the official markdown table
  //   key_results.json, record_mAP.txt                   the seed's files (not for MPII)
  //   results/keypoints_<set>_results_0.json             the official file (not for MPII)
  //   pred.mat                                           the official file (MPII)
  ValidationReport run();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace hr
