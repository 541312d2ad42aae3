// Decoding as part of an exported graph, with ops of the standard only.
#pragma once
#include <string>

#include "eval/decode.h"
#include "hrnet/export/onnx_builder.h"

namespace hr {

// What decode (eval/decode.h) does for argmax, quarter and msra: from heatmaps [N, joints, h, w] to `joints`
// [N, joints, 2], x and y in pixels of the input, which has `stride` times the heatmaps' size, and `scores` [N,
// joints], the maxima. Throws Error{decode} for the codecs dark and udp.
void add_joints(OnnxBuilder& builder, const std::string& heatmaps, int h, int w, int stride, Codec codec);

// From a detector's table [N, A, 5 + classes] for inputs of h x w to the same with boxes (centre x, centre y, width,
// height) in pixels of the input. Returns the value's name.
std::string add_boxes(OnnxBuilder& builder, const std::string& table, int h, int w);

}  // namespace hr
