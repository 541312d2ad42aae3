// The course of a training run as curves.
#pragma once
#include <string_view>
#include <vector>

#include "core/file.h"
#include "hrnet/train/history.h"
#include "tools/plot/plot.h"

namespace hr {

// How fast an epoch was trained.
struct EpochSpeed {
  int epoch = 0;                  // Counted from 0.
  double samples_per_second = 0;  // Of all ranks.
  double wait_share = 0;          // Of the time: what was spent on waiting for data, 0 to 1.
};

// The speeds that the lines of metrics.jsonl tell, one per epoch, by epoch. Lines that are not understood are left out:
// the file may have been cut off by a crash.
std::vector<EpochSpeed> epoch_speeds(std::string_view metrics);
// The same from the file of a run's folder; empty if there is none.
std::vector<EpochSpeed> read_epoch_speeds(const fs::path& run_folder);

// Four panels over epochs: loss, learning rate, AP or PCKh, and throughput with the share of time spent on waiting for
// data.
std::vector<Panel> history_panels(const std::vector<EpochRecord>& history, const std::vector<EpochSpeed>& speeds);

// The four panels as a PNG.
void plot_history(const fs::path& path, const std::vector<EpochRecord>& history, const std::vector<EpochSpeed>& speeds);

}  // namespace hr
