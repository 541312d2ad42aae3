// A network's poses of all people of a data set.
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
  size_t done = 0, all = 0;  // people of this rank
  double per_second = 0;     // of all ranks
  bool finished = false;     // the last call
};

struct PredictPeopleOptions {
  int batch_size = 32, workers = 2;  // loader threads
  DecodeOptions decoding = {};
  Comm* ranks = nullptr;                                     // several ranks share the people
  std::function<void(const PeopleProgress&)> progress = {};  // before the first batch and after each one
};

// Runs the network over every person of `dataset` (not augmented) and decodes: one result per person, in order, score =
// the box's; none for people whose picture has turned bad. Each of several ranks gets all results. Throws Error if the
// dataset's encoding is not the codec's, or if a picture is bad and the dataset does not substitute it.
std::vector<PersonResult> predict_people(HeatmapRunner& runner, const PoseDataset& dataset,
                                         const PredictPeopleOptions& options);

}  // namespace hr
