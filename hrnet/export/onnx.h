// Export to ONNX: opset 17, any batch size, a fixed size of the input.
//   const OnnxReport r = export_onnx(WeightFile("pose_hrnet_w32_256x192.pth"), "w32.onnx");
// HRNet and PoseResNet: `input` [batch, 3, H, W] -> `heatmaps` [batch, joints, H/4, W/4]; with `decode` -> `joints`
// [batch, joints, 2], x and y in pixels of the input, and `scores` [batch, joints]. YOLOX: `images` [batch, 3, H, W] ->
// `output` [batch, anchors, 5 + classes]; with `decode` its boxes are centre and size in pixels of the input, as the
// official project's --decode_in_inference makes them. The file's metadata says how pictures become inputs.
#pragma once
#include <array>
#include <cstddef>
#include <optional>
#include <string>

#include "core/io/safetensors.h"
#include "nn/weights.h"

namespace hr {

// Plain settings; errors name them by these fields. What is left open is taken from the weights.
struct OnnxOptions {
  bool keep_bn = false;  // batch norms stay nodes of their own instead of being folded into convolutions
  bool decode = false;   // joints and scores, or boxes, are part of the graph
  bool half = false;     // filters are stored as float16; the graph computes in float32 all the same
  std::optional<std::array<int, 2>> fixed_size;  // height and width of the input in pixels, multiples of 32
  std::string model;                             // of a pose network, as in ModelOptions
  std::string color, keypoints_path, codec;      // of a pose network: for decoding and the metadata
  std::optional<int> joints;
};

struct OnnxReport {
  std::string network, input, outputs;  // "hrnet_w32", "input [batch, 3, 256, 192]", "heatmaps [...]"
  size_t nodes = 0;
  int64_t bytes = 0;  // of the file
  // The check: the file was read back and run, by an evaluator of its own (hrnet/export/onnx_run.h), on `batch` inputs
  // of random numbers. `difference` is the largest one to the network itself, `largest` the largest number of its
  // output.
  int batch = 0;
  double difference = 0, largest = 0;
  double relative() const { return largest > 0 ? difference / largest : difference; }
  // With `decode`: the largest difference to the house's own decoding of the same heatmaps or table, in pixels.
  double pixels = 0;
  // With `half`: `difference` is that of the graph with the weights in float32, this one of the file, as a part of
  // `largest`.
  double rounding = 0;
};

// How far the check may be off, as parts of the largest number: rounding of float32 in another order, and of float16.
inline constexpr double kOnnxTolerance = 1e-4, kOnnxHalfTolerance = 2e-2;

// Writes `out`, on the CPU. Throws Error if the weights are no network of ours, an option does not fit, or the check
// finds another result than the network's; no file is left behind then, and a file that was there stays.
OnnxReport export_onnx(const WeightFile& weights, const fs::path& out, const OnnxOptions& options = {},
                       const WriteProgress& progress = {});

}  // namespace hr
