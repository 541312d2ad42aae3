// Draws the course of a training run as curves.
#pragma once
#include <string_view>
#include <vector>

#include "core/file.h"
#include "hrnet/train/history.h"
#include "tools/plot/plot.h"

namespace hr {

// The speed of training in one epoch.
struct EpochSpeed {
  int epoch = 0;                  // Counted from 0.
  double samples_per_second = 0;  // Of all ranks together.
  double wait_share = 0;          // The share of the time that was spent on waiting for data, 0 to 1.
};

// Returns the speeds that the text of a metrics.jsonl contains, one per epoch, ordered by epoch. Lines that cannot be
// parsed are skipped, because a crash may have cut off the file.
std::vector<EpochSpeed> epoch_speeds(std::string_view metrics);
// Reads the metrics.jsonl of a run folder. Returns an empty list if there is no such file.
std::vector<EpochSpeed> read_epoch_speeds(const fs::path& run_folder);

// Returns four panels over the epochs: loss, learning rate, AP or PCKh, and throughput together with the share of the
// time that was spent on waiting for data.
std::vector<Panel> history_panels(const std::vector<EpochRecord>& history, const std::vector<EpochSpeed>& speeds);

// Writes the four panels to a PNG file. Throws Error if it cannot be written.
void plot_history(const fs::path& path, const std::vector<EpochRecord>& history, const std::vector<EpochSpeed>& speeds);

}  // namespace hr
