// The history of a run: one record per epoch. It is stored in checkpoints, plotted, and written as the seed's result
// lines.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace hr {

struct EpochRecord {
  int epoch = 0;
  double loss = 0;            // Mean over the samples of the epoch.
  double lr = 0;              // Learning rate of the last step of the epoch.
  bool pckh = false;          // Whether `stats` are MPII's PCKh numbers.
  std::vector<double> stats;  // COCO's ten numbers, or MPII's nine in percent; empty if the epoch was not validated

  // The number by which the best checkpoint is chosen: AP, or PCKh's Mean as a fraction. There must be stats.
  double score() const { return pckh ? stats.at(7) / 100 : stats.at(0); }
};

// The seed's line: "epoch:3 0.7412  ...  0.0012  0.001000" with ten numbers (nine for MPII), the loss (%.4f) and the
// learning rate (%.6f), separated by two spaces. Numbers of an epoch that was not validated are "nan".
std::string results_line(const EpochRecord& record);

// Converts to and from the JSON in a checkpoint's metadata. history_from_json throws Error that begins with `where` if
// the text is malformed.
std::string history_to_json(const std::vector<EpochRecord>& history);
std::vector<EpochRecord> history_from_json(std::string_view json, std::string_view where);

}  // namespace hr
