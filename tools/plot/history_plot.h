// The course of a training run as a picture.
#pragma once
#include <vector>

#include "core/file.h"
#include "hrnet/train/history.h"

namespace hr {

// Loss, learning rate and AP or PCKh over epochs, as a PNG.
void plot_history(const fs::path& path, const std::vector<EpochRecord>& history);

}  // namespace hr
