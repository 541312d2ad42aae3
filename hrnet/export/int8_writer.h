// Converts a network with 8-bit integers to the nodes of an ONNX graph, with QuantizeLinear and DequantizeLinear around
// the ops that compute with bytes (the form that runtimes call QDQ).
#pragma once
#include <string>

#include "hrnet/export/onnx_builder.h"
#include "hrnet/int8/parameters.h"

namespace hr {

// Appends the network to the builder and returns the name of the output's value. For a range `r` the scale and the zero
// are the tensors "r.scale" and "r.zero". For a convolution `m` the bytes of the weights are "m.weight", with one scale
// per output channel, "m.weight_scale"; its bias is int32 in units of the product of both scales, "m.bias". The node
// that rounds the value v of the graph is "quantize_v". Factors of channels are multiplied before that node
// ("m.inverse_factors"), so every tensor of bytes has one scale, and the readers' weights contain the factors.
std::string write_int8_network(OnnxBuilder& builder, const Int8Graph& graph, const Int8Source& source,
                               const std::string& input_name);

}  // namespace hr
