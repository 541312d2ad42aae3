// Poses of people in pictures: overlays and a COCO-format JSON.
#pragma once
#include <string>
#include <vector>

#include "hrnet/infer/decoding.h"
#include "tools/programs/infer.h"

namespace hr {

struct PredictOptions : ModelOptions {
  std::vector<std::string> inputs;  // pictures and folders
  std::string boxes, output_dir = "predictions", on_bad_sample;
  int batch_size = 16, workers = 2;
  double threshold = 0.2;
  DecodingOptions decoding;
};
void add_predict_options(CLI::App& app, PredictOptions& options);
// Exit status: 0, or 2 when some of the pictures could not be read and --on-bad-sample skip was not given; those are
// listed last, and all others are done. Throws Error if none can be read, at the first with --on-bad-sample fail, or if
// the weights give heatmaps that are not finite.
int predict(const PredictOptions& options);

}  // namespace hr
