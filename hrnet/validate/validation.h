// The complete validation of a weight file: opens the data, chooses skeleton and decoding, predicts, evaluates, and
// writes the files. Measures COCO's ten OKS numbers, CrowdPose's nine, or MPII's PCKh.
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

// The settings of a validation. Errors name a setting by its field.
struct ValidationOptions : ModelOptions, DataOptions {
  std::string mpii_truth;  // gt_valid.mat; empty: the one beside MPII's annotations.
  std::string person_det;  // Detected boxes as a COCO result list; empty: annotated boxes.
  std::string output_dir = ".";
  DecodingOptions decoding;
  int batch_size = 32, workers = 2;  // People per forward pass, loader threads.
  bool soft_nms = false, no_nms = false;
  std::optional<double> in_vis_thre, oks_thre;  // nullopt: 0.2 and 0.9.
  double image_thre = 0;                        // Detected boxes with a lower score are left out.
  bool analysis = false;                        // Also analyse the errors by joint and size.
};

// Receives what a validation reports while it runs. All members may be empty. The calls come from the thread that
// validates.
struct ValidationObserver {
  std::function<void(const std::string& text)> note = {};      // A note for the user.
  std::function<void(const std::string& text)> left_out = {};  // A summary of bad samples.
  std::function<void(size_t done, size_t all)> checked = {};   // Pictures that were checked before the start.
  std::function<void(const PeopleProgress&)> progress = {};
  Context::Listener listener = {};
  // Rewords a remark for validation.json, for a program whose users know the settings by other names.
  std::function<std::string(const std::string& remark)> wording = {};
};

struct ValidationReport {
  std::string summary;               // pycocotools' or CrowdPose's lines; empty for MPII.
  std::string table;                 // The official markdown table; empty if there are no annotations to compare with.
  std::vector<std::string> remarks;  // Reasons why the numbers mean less than it seems.
  std::optional<PoseAnalysis> analysis;
  std::string analysis_title;
  std::vector<std::string> written;  // Files that were written, relative to output_dir.

  // What was measured, for programs that show more than the texts above.
  std::string model, set;                    // The name of the network, and that of the set, for example val2017.
  int input_h = 0, input_w = 0;              // The input of the network in pixels.
  bool pckh = false;                         // The numbers are PCKh in percent, not OKS.
  CocoRules rules = CocoRules::pycocotools;  // The rules of the OKS numbers.
  std::vector<std::string> stat_names;       // The names of `stats`; empty if there is no truth.
  std::vector<double> stats;
  std::vector<double> joints;         // PCKh@0.5 by joint, in percent.
  std::vector<PersonResult> results;  // The poses that were compared.
};

class Validation {
 public:
  // Opens the data, loads the model, checks every picture and creates the output folder, so that errors in the user's
  // input are found before the work begins. Throws Error, which names the field if a setting is wrong.
  explicit Validation(const ValidationOptions& options, ValidationObserver observer = {});
  ~Validation();
  Validation(const Validation&) = delete;
  Validation& operator=(const Validation&) = delete;

  // Describes what is measured and how: ("dataset", "coco: val.json"), ("boxes", "ground truth: 104 (...)"), ...
  std::vector<std::pair<std::string, std::string>> description() const;

  // Predicts, evaluates and writes these files into output_dir:
  //   validation.json    description, numbers in full precision, counts, seconds
  //   validation.md      the official markdown table
  //   key_results.json, record_mAP.txt                   the seed's files (not for MPII)
  //   results/keypoints_<set>_results_0.json             the official file (not for MPII)
  //   pred.mat                                           the official file (MPII)
  // Throws Error if a file cannot be written or a picture cannot be read.
  ValidationReport run();

  // The people that are predicted. The reference is valid as long as the validation lives.
  const PoseDataset& dataset() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace hr
