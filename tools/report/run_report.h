// report.html of a training run and of a validation: what they tell, put together for the page.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hrnet/train/observer.h"
#include "hrnet/validate/validation.h"
#include "tools/report/report.h"

namespace hr {

// What a training run has told so far. The page is written from it and from the files of the run's folder: config.json
// says what was asked for, metrics.jsonl how fast the epochs were, also those before the run was resumed.
class RunReport {
 public:
  void fact(std::string_view label, const std::string& text) { facts_.emplace_back(label, text); }
  void remark(const std::string& text);
  // Analyses the poses and draws the worst pictures. Throws Error if the annotations cannot be compared with them.
  void validated(const TrainObserver::Validated& validated);
  // Writes report.html in one step. `ending` says how the run ended, for example "finished"; the checksums of all
  // weight files are then told. It is empty while the run goes on. Throws Error if the file cannot be written.
  void write(const fs::path& folder, const std::vector<EpochRecord>& history, const std::string& ending = "");

  // The page's content, as write() gives it to report_html.
  ReportData data(const fs::path& folder, const std::vector<EpochRecord>& history, const std::string& ending);

  // What was told about the start of the run.
  const ReportPairs& facts() const { return facts_; }

 private:
  void add_configuration(const fs::path& folder, ReportData& data) const;
  void add_files(const fs::path& folder, bool ended, ReportData& data);

  ReportPairs facts_;
  std::vector<std::string> remarks_;
  ReportData measured_;      // Analysis, joints and pictures of the last validation.
  std::string best_sha256_;  // Computed once for each best validation.
};

// report.html of a validation. `description` is Validation::description().
ReportData validation_report(const ReportPairs& description, const ValidationReport& report, const PoseDataset& data,
                             bool detected_boxes, const fs::path& weights);

// The name of a set after its annotation file: val2017 for person_keypoints_val2017.json.
std::string set_name_of(const std::string& annotations);

// The command line of this process, quoted for a shell.
std::string command_line();

}  // namespace hr
