// Exports networks to ONNX with opset 17, any batch size and a fixed input size.
//   const OnnxReport r = export_onnx(WeightFile("pose_hrnet_w32_256x192.pth"), "w32.onnx");
// HRNet and PoseResNet map `input` [batch, 3, H, W] to `heatmaps` [batch, joints, H/4, W/4]. With `decode` the graph
// returns `joints` [batch, joints, 2], x and y in pixels of the input, and `scores` [batch, joints]. YOLOX maps
// `images` [batch, 3, H, W] to `output` [batch, anchors, 5 + classes]; with `decode` its boxes are centre and size in
// pixels of the input, as the official project's --decode_in_inference makes them. Weights of 8 bits
// (hrnet/int8/file.h) become a graph with QuantizeLinear and DequantizeLinear. The file's metadata says how pictures
// are converted to inputs.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "core/io/safetensors.h"
#include "nn/weights.h"

namespace hr {

// These are the settings of an export; errors name them by these fields. A setting that is left empty is taken from the
// weights.
struct OnnxOptions {
  bool keep_bn = false;  // Batch norms stay nodes of their own instead of being folded into convolutions.
  bool decode = false;   // The graph returns joints and scores, or boxes.
  bool half = false;     // Filters are stored as float16; the graph still computes in float32.
  std::optional<std::array<int, 2>> fixed_size;  // Height and width of the input in pixels must be multiples of 32.
  std::string model;                             // It names a pose network as in ModelOptions.
  std::string color, keypoints_path, codec;      // These apply to pose networks and set the decoding and the metadata.
  std::optional<int> joints;
};

// The comparison of all tensors of bytes of a graph with those of the network that it was made from.
struct Int8Check {
  int64_t bytes = 0;      // The number of bytes of all these tensors.
  int64_t differing = 0;  // So many of them differ.
  int steps = 0;          // The largest difference.
};

struct OnnxReport {
  std::string network, input, outputs;  // Examples are "hrnet_w32", "input [batch, 3, 256, 192]" and "heatmaps [...]".
  size_t nodes = 0;
  int64_t bytes = 0;  // This is the size of the file.
  // The check reads the file back and runs it with an independent evaluator (hrnet/export/onnx_run.h) on `batch` random
  // inputs. `difference` is the largest absolute difference to the network's own output, and `largest` is the largest
  // absolute number of that output.
  int batch = 0;
  double difference = 0, largest = 0;
  // With weights of 8 bits every tensor of bytes is compared with the network's and then replaced by it, so
  // `difference` is that of the float32 parts.
  bool int8 = false;
  Int8Check bytes_check;
  double relative() const { return largest > 0 ? difference / largest : difference; }
  // With `decode`, this is the largest difference, in pixels, to what this library decodes from the same heatmaps or
  // the same table.
  double pixels = 0;
  // With `half`, `difference` describes the graph with weights in float32, and `rounding` is the largest difference of
  // the file with float16 weights, relative to `largest`.
  double rounding = 0;
};

// These are the largest accepted differences of the check, relative to the largest number. They allow for float32 sums
// in another order, and for rounding to float16.
inline constexpr double kOnnxTolerance = 1e-4, kOnnxHalfTolerance = 2e-2;
// A float32 sum in another order may be rounded to the neighbouring byte. At most so many of the bytes may be.
inline constexpr double kOnnxDifferingBytes = 0.01;

// Exports the network on the CPU to the file `out`. Throws Error if the weights are not a supported network, if an
// option does not fit, or if the check finds another result than the network's. In that case no new file is left
// behind, and an existing file stays unchanged.
OnnxReport export_onnx(const WeightFile& weights, const fs::path& out, const OnnxOptions& options = {},
                       const WriteProgress& progress = {});

}  // namespace hr
