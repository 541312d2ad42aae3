// Poses of people in pictures: overlays and a COCO-format JSON.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace hr {

struct PredictOptions {
  std::vector<std::string> inputs;  // pictures and folders
  std::string weights, model, boxes, keypoints_path, output_dir = "predictions", device = "cpu";
  std::optional<std::array<int, 2>> fixed_size;
  int joints = 17, batch_size = 16, workers = 2, threads = 0;
  double threshold = 0.2;
  bool flip = true, amp = false;
};
void add_predict_options(CLI::App& app, PredictOptions& options);
void predict(const PredictOptions& options);

}  // namespace hr
