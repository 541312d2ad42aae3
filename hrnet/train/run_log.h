// Writes the progress of a training run in machine-readable form into the folder of the run:
//   metrics.jsonl             holds a JSON object per line: the facts of the start, steps, epochs and remarks.
//   events.out.tfevents.*     hold the same numbers for TensorBoard.
// docs/guide/watching.md describes both formats.
#pragma once
#include <optional>
#include <string>

#include "core/io/event_file.h"
#include "hrnet/train/observer.h"
#include "hrnet/train/run_state.h"

namespace hr {

// Passes every call on to `next` and writes it to the files. What is reported before open() is buffered and written by
// open(); if open() is never called, nothing is written. Every function throws Error if a file cannot be written. Not
// thread-safe.
class RunLog : public TrainObserver {
 public:
  // Every `print_freq`-th step of an epoch gets a line; 0 turns these lines off. `next` must outlive the log.
  RunLog(TrainObserver& next, int print_freq) : next_(next), print_freq_(print_freq) {}

  // Opens the files in `folder`. A run that resumes at `position` keeps the lines of metrics.jsonl up to that position
  // and drops the later ones, because their steps are repeated. Without a position metrics.jsonl starts empty.
  void open(const fs::path& folder, const std::optional<RunState>& position);

  void fact(std::string_view label, const std::string& text) override;
  void checked_pictures(std::string_view split, size_t done, size_t all) override {
    next_.checked_pictures(split, done, all);
  }
  void epoch_begins(const EpochStatus& status) override;
  void stepped(const EpochStatus& status) override;
  void epoch_trained(const EpochStatus& status) override;
  void samples(const EpochStatus& status, const Image& picture) override;
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
  // The step counts from the start of the run's first epoch and is TensorBoard's horizontal axis.
  int64_t step_ = 0;
  double people_per_second_ = 0;  // This is the speed of the validation.
  std::string early_;             // These lines were reported before open().
  std::optional<AppendFile> lines_;
  std::optional<EventFile> events_;
};

}  // namespace hr
