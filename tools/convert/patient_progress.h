// A progress line for work that usually ends within a moment.
#pragma once
#include <chrono>
#include <memory>
#include <string>

#include "tools/cli/progress.h"

namespace hr {

// A progress line that appears only when the work takes more than two seconds.
class PatientProgress {
 public:
  explicit PatientProgress(std::string title) : title_(std::move(title)) {}
  ~PatientProgress() {
    if (line_) line_->finish();
  }
  PatientProgress(const PatientProgress&) = delete;
  PatientProgress& operator=(const PatientProgress&) = delete;

  void operator()(int64_t done, int64_t total) {
    if (!line_ && std::chrono::steady_clock::now() - started_ > std::chrono::seconds(2))
      line_ = std::make_unique<Progress>(title_, total);
    if (line_) line_->update(done);
  }

 private:
  std::string title_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::unique_ptr<Progress> line_;
};

}  // namespace hr
