// The program detect finds people (or other things) in pictures and writes a COCO result file of boxes.
#pragma once
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace hr {

struct DetectOptions {
  std::vector<std::string> inputs;  // pictures and folders
  std::string detector, output = "det.json", draw;
  std::string data_path, split = "val", annotations, images;
  std::vector<std::string> classes{"person"};
  std::vector<int> input_size;  // height, width; empty: those for which the weights were published
  std::string preprocessing;    // bgr or rgb; empty: as the weights need it
  double confidence = 0.001, nms = 0.65, draw_threshold = 0.3;
  int at_most = 100, batch_size = 1, threads = 0;
  std::string device = "cpu", precision;  // auto, f32, bf16 or int8; empty: as `amp` says
  bool amp = false, exact = false;
};
void add_detect_options(CLI::App& app, DetectOptions& options);
void detect(const DetectOptions& options);

}  // namespace hr
