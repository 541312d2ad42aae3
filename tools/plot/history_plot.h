// Draws the course of a training run.
#pragma once
#include <vector>

#include "core/file.h"
#include "hrnet/train/history.h"

namespace hr {

// Plots loss, learning rate and AP or PCKh over epochs into a PNG file.
void plot_history(const fs::path& path, const std::vector<EpochRecord>& history);

}  // namespace hr
