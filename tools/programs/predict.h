// Poses of people in pictures and videos: overlays, and files of numbers.
#pragma once
#include <string>
#include <vector>

#include "hrnet/infer/decoding.h"
#include "tools/cli/model_options.h"

namespace hr {

struct PredictOptions : ModelOptions {
  std::vector<std::string> inputs;  // pictures, videos, folders of them, cameras and addresses
  std::string boxes, detector, output_dir = "predictions", on_bad_sample;
  int batch_size = 16, workers = 2;
  double threshold = 0.2, box_score = 0.3;
  bool track = false, smooth = true, overlay = true, show = false;
  int every = 1;                   // of a video: every how many frames the detector runs
  std::string openpose, csv, mot;  // folder, file, folder; empty: not written
  bool json_lines = false;         // on stdout
  DecodingOptions decoding;
};
void add_predict_options(CLI::App& app, PredictOptions& options);
// Exit status: 0; 2 when some of the inputs could not be read and --on-bad-sample skip was not given: those are listed
// last, and all others are done; 128 + the signal after Ctrl-C or SIGTERM, with everything written that was done.
// Throws Error if none can be read, at the first with --on-bad-sample fail, or if the weights give heatmaps that are
// not finite.
int predict(const PredictOptions& options);

}  // namespace hr
