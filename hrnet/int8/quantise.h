// Makes a file of 8-bit weights from a file of float32 weights and pictures of people.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "hrnet/int8/calibrate.h"
#include "nn/weights.h"

namespace hr {

struct QuantiseOptions {
  // The people by whom the ranges are chosen: a data set or a pack (data/find_dataset.h), or a folder of pictures, each
  // of which is then taken as one person. Of a detector: a folder of pictures, or a dataset in COCO's layout.
  std::string calibrate;
  int people = 256;  // At most this many people or pictures, spread over the data. 0 takes all.
  // nullopt: mse for a pose network. A detector takes max, because its boxes suffer from limited values.
  std::optional<RangeMethod> method;
  std::string color;  // rgb or bgr; empty: that of the weights, or else of the architecture.
};

struct QuantiseReport {
  std::string network;    // "hrnet_w32 with 17 joints"
  bool detector = false;  // Then `people` counts pictures.
  size_t people = 0;      // Calibrated by.
  RangeMethod method{};
  size_t convolutions = 0;  // Of bytes.
  int64_t bytes = 0;        // Of the file.
  double difference = 0;    // Root mean square difference of the results of the last batch, relative to theirs.
};

// Throws Error if `file` is no pose network or YOLOX, if there are no pictures, or if `output` cannot be written.
// progress(done, all) counts people.
QuantiseReport quantise_file(const WeightFile& file, const fs::path& output, const QuantiseOptions& options,
                             const std::function<void(int64_t done, int64_t all)>& progress = {});

}  // namespace hr
