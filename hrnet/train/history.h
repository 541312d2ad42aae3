// What training has achieved so far, epoch by epoch: kept in checkpoints, drawn as plots, written as the seed's results
// lines.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace hr {

struct EpochRecord {
  int epoch = 0;
  double loss = 0;            // mean over the epoch's samples
  double lr = 0;              // of the epoch's last step
  bool pckh = false;          // what was measured
  std::vector<double> stats;  // the ten COCO numbers, or MPII's nine in percent; empty: not evaluated

  // What makes a checkpoint the best one: AP, or PCKh's Mean as a fraction.
  double score() const { return pckh ? stats.at(7) / 100 : stats.at(0); }
};

// The seed's line: "epoch:3  0.7412  ...  0.0012  0.001000": ten numbers (MPII: nine), loss (%.4f), lr (%.6f), two
// spaces between. Numbers of an epoch that was not evaluated are "nan".
std::string results_line(const EpochRecord& record);

// JSON, for a checkpoint's metadata.
std::string history_to_json(const std::vector<EpochRecord>& history);
std::vector<EpochRecord> history_from_json(std::string_view json, std::string_view where);

}  // namespace hr
