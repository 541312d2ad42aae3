// Collects the content of report.html, for a training run and for a validation.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hrnet/train/observer.h"
#include "hrnet/validate/validation.h"
#include "tools/report/report.h"

namespace hr {

// The content of a training run's report so far. The page is made from it and from the files in the run folder:
// config.json contains the configuration, and metrics.jsonl the speed of every epoch, including the epochs before the
// run was resumed.
class RunReport {
 public:
  void fact(std::string_view label, const std::string& text) { facts_.emplace_back(label, text); }
  void remark(const std::string& text);
  // Analyses the poses and draws the worst pictures. Throws Error if the annotations cannot be compared with them.
  void validated(const TrainObserver::Validated& validated);
  // Writes report.html, replacing an older one in one step. `ending` says how the run ended, for example "finished";
  // the page then lists the checksums of all weight files. It is empty while the run goes on. Throws Error if the file
  // cannot be written.
  void write(const fs::path& folder, const std::vector<EpochRecord>& history, const std::string& ending = "");

  // Returns the content that write() passes to report_html().
  ReportData data(const fs::path& folder, const std::vector<EpochRecord>& history, const std::string& ending);

  // Returns what was told about the start of the run.
  const ReportPairs& facts() const { return facts_; }

 private:
  void add_configuration(const fs::path& folder, ReportData& data) const;
  void add_files(const fs::path& folder, bool ended, ReportData& data);

  ReportPairs facts_;
  std::vector<std::string> remarks_;
  ReportData measured_;      // Analysis, joints and pictures of the last validation.
  std::string best_sha256_;  // Computed once for each best validation.
};

// Returns the content of report.html for a validation. `description` is Validation::description(). Throws Error if the
// weight file cannot be read, and the errors of the evaluators.
ReportData validation_report(const ReportPairs& description, const ValidationReport& report, const PoseDataset& data,
                             bool detected_boxes, const fs::path& weights);

// Returns the name of a set from its annotation file: val2017 for person_keypoints_val2017.json.
std::string set_name_of(const std::string& annotations);

// Returns the command line of this process, quoted for a shell, or an empty text where there is no /proc.
std::string command_line();

}  // namespace hr
