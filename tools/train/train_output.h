// Prints a training run: facts and numbers on stdout, a progress bar on stderr.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "hrnet/train/trainer.h"
#include "tools/cli/progress.h"
#include "tools/report/run_report.h"

namespace hr {

class TrainOutput : public TrainObserver {
 public:
  explicit TrainOutput(int print_freq) : print_freq_(print_freq) {}

  void fact(std::string_view label, const std::string& text) override;
  void checked_pictures(std::string_view split, size_t done, size_t all) override;
  void epoch_begins(const EpochStatus& status) override;
  void stepped(const EpochStatus& status) override;
  void epoch_trained(const EpochStatus& status) override;
  void validating(const PeopleProgress& progress) override;
  void validated(const Validated& result) override;
  void remark(const std::string& text) override;
  void more_bad_samples(size_t count, const std::string& list) override;
  void epoch_finished(const fs::path& folder, const std::vector<EpochRecord>& history) override;

  void ended(const TrainEnd& end, const Trainer& trainer);
  // The run is ending with an error, which the caller reports; the report of the run says so too.
  void failed(const std::string& why, const RunFolder& folder);
  // Prints the scores of a model that is only tested, and writes the report of the validation.
  void tested(const ValidationRun& run, const Trainer& trainer);

 private:
  // Runs `work` for the report or the curves. A failure, such as a full disk, is told once and does not end the
  // training, because both can be made again from the history.
  void guarded(const std::function<void()>& work,
               std::string_view trouble = "the report cannot be made, the training continues without it");
  void end_bar();  // ends the bar of the check

  int print_freq_;
  bool in_epoch_ = false;  // a validation within an epoch is indented
  std::string checking_;
  std::optional<Progress> bar_;
  RunReport report_;
  std::vector<EpochRecord> history_;  // As the last finished epoch left it.
  std::string report_trouble_;        // Why the report could not be made; told once.
};

}  // namespace hr
