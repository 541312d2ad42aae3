// Adds decoding to an exported graph, using only operators of the ONNX standard.
#pragma once
#include <string>

#include "eval/decode.h"
#include "hrnet/export/onnx_builder.h"

namespace hr {

// Adds the decoding that decode (eval/decode.h) does for the codecs argmax, quarter and msra. It reads heatmaps [N,
// joints, h, w] and defines two outputs: `joints` [N, joints, 2], x and y in pixels of the input, which is `stride`
// times as large as the heatmaps, and `scores` [N, joints], the maxima. Throws Error{decode} for the codecs dark and
// udp.
void add_joints(OnnxBuilder& builder, const std::string& heatmaps, int h, int w, int stride, Codec codec);

// Converts a detector's table [N, A, 5 + classes] for inputs of h x w pixels to a table whose boxes (centre x, centre
// y, width, height) are in pixels of the input. Returns the value's name.
std::string add_boxes(OnnxBuilder& builder, const std::string& table, int h, int w);

}  // namespace hr
