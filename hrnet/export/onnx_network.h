// Prepares the network of a weight file for the export: a function that runs it, the names of its tensors, and the
// metadata that another program needs to use it.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "eval/decode.h"
#include "hrnet/export/network_writer.h"
#include "hrnet/export/onnx.h"
#include "hrnet/int8/file.h"
#include "nn/weights.h"

namespace hr {

struct OnnxNetwork {
  std::string name;  // An example is "hrnet_w32".
  int h = 0, w = 0;
  NetworkLayers layers;
  // A network with 8-bit integers, and the file that it comes from; null for other networks, whose graph is recorded
  // from a run.
  std::shared_ptr<const Int8File> int8_file;
  std::shared_ptr<Int8Network> int8;
  // Maps images [N, h, w, 3] in f32 to heatmaps [N, h/4, w/4, joints] or a detector's table [N, A, 5 + classes].
  std::function<Tensor(Context& cx, const Tensor& images)> forward;
  std::string input, output;   // These are the names of the graph's values.
  float low = 0, high = 0;     // The numbers of an input lie in this range.
  std::optional<Codec> codec;  // A pose network has a codec, which says how its heatmaps are to be decoded.
  std::map<std::string, std::string> metadata;
};

// Builds the network with the file's weights on cx, which must be on the CPU. Throws Error if the file holds no
// supported network or an option does not fit it.
OnnxNetwork onnx_network(Context& cx, const WeightFile& file, const OnnxOptions& options);

}  // namespace hr
