// A weight file's network in the form in which it is exported: something that runs, the names of its tensors, and what
// another program has to know to feed it.
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
#include "nn/weights.h"

namespace hr {

struct OnnxNetwork {
  std::string name;  // "hrnet_w32"
  int h = 0, w = 0;
  NetworkLayers layers;
  // [N, h, w, 3] f32 -> heatmaps [N, h/4, w/4, joints] or a detector's table [N, A, 5 + classes].
  std::function<Tensor(Context& cx, const Tensor& images)> forward;
  std::string input, output;   // Names of the graph's values.
  float low = 0, high = 0;     // The range of the numbers in an input.
  std::optional<Codec> codec;  // Of a pose network: how its heatmaps are to be decoded.
  std::map<std::string, std::string> metadata;
};

// Builds the network with the file's weights on cx, which must be on the CPU. Throws Error if the file holds none of
// our networks or an option does not fit it.
OnnxNetwork onnx_network(Context& cx, const WeightFile& file, const OnnxOptions& options);

}  // namespace hr
