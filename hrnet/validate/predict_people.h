// Estimates the poses of all people in a dataset.
#pragma once
#include <functional>
#include <vector>

#include "core/comm/comm.h"
#include "data/dataset.h"
#include "eval/decode.h"
#include "eval/results.h"
#include "hrnet/infer/heatmap_runner.h"

namespace hr {

struct PeopleProgress {
  size_t done = 0, all = 0;  // People, of this rank.
  double per_second = 0;     // People per second, of all ranks.
  bool finished = false;     // True in the last call.
};

struct PredictPeopleOptions {
  int batch_size = 32, workers = 2;  // People per forward pass, loader threads.
  DecodeOptions decoding = {};
  Comm* ranks = nullptr;  // Communicator of the ranks that share the people; null: this process alone.
  std::function<void(const PeopleProgress&)> progress = {};  // Called before the first batch and after each.
};

// Runs the network on every person of `dataset`, which must not augment, and decodes the heatmaps. Returns one result
// per person in the order of the dataset, with the score of the box; people whose picture cannot be read any more have
// no result. With several ranks, all of them get all results. Throws Error if the dataset was opened for another codec,
// or if a picture is bad and the dataset does not substitute it.
std::vector<PersonResult> predict_people(HeatmapRunner& runner, const PoseDataset& dataset,
                                         const PredictPeopleOptions& options);

}  // namespace hr
