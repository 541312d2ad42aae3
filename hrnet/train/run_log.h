// What a training run tells, for programs to read, in the folder of the run:
//   metrics.jsonl             a JSON object per line: the facts of the start, steps, epochs, remarks
//   events.out.tfevents.*     the same numbers for TensorBoard
// docs/guide/watching.md describes both.
#pragma once
#include <optional>
#include <string>

#include "core/io/event_file.h"
#include "hrnet/train/observer.h"
#include "hrnet/train/run_state.h"

namespace hr {

// Passes every call on to `next`, and writes. What is told before open() is kept and written then; without open()
// nothing is written. Throws Error if a file cannot be written.
class RunLog : public TrainObserver {
 public:
  // A line for every `print_freq`-th step of an epoch; 0: for none. `next` must outlive the log.
  RunLog(TrainObserver& next, int print_freq) : next_(next), print_freq_(print_freq) {}

  // Begins the files. A run that goes on at `position` keeps the lines of metrics.jsonl up to there; the later ones are
  // of steps that are done again. Without a position metrics.jsonl begins anew.
  void open(const fs::path& folder, const std::optional<RunState>& position);

  void fact(std::string_view label, const std::string& text) override;
  void checked_pictures(std::string_view split, size_t done, size_t all) override {
    next_.checked_pictures(split, done, all);
  }
  void epoch_begins(const EpochStatus& status) override;
  void stepped(const EpochStatus& status) override;
  void epoch_trained(const EpochStatus& status) override;
  void validating(const PeopleProgress& progress) override;
  void validated(const Validated& validated) override;
  void remark(const std::string& text) override;
  void more_bad_samples(size_t count, const std::string& list) override;
  void epoch_finished(const fs::path& folder, const std::vector<EpochRecord>& history) override;

 private:
  void write(const std::string& json);
  void numbers(std::string_view kind, const EpochStatus& status);
  void scalar(std::string_view tag, double value);

  TrainObserver& next_;
  int print_freq_;
  int64_t step_ = 0;              // since the run's first epoch began; TensorBoard's horizontal axis
  double people_per_second_ = 0;  // of the validation
  std::string early_;             // lines that were told before open()
  std::optional<AppendFile> lines_;
  std::optional<EventFile> events_;
};

}  // namespace hr
