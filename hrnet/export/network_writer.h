// From the trace of a network and the entries of its state dict to the nodes of an ONNX graph.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "hrnet/export/network_trace.h"
#include "hrnet/export/onnx_builder.h"

namespace hr {

// What the state dict calls the tensors that a trace refers to by their ids.
struct NetworkLayers {
  struct Filter {
    std::vector<std::string> modules;  // "layer1.0.conv1"; several: their output channels follow each other.
    std::string norm;                  // The batch norm that the network itself has folded in; empty: none.
    double epsilon = 1e-5;             // Of that batch norm.
    // YOLOX's stem: its 3x3 filter over blocks of 2x2 pixels is one of 6x6 over pixels in the trace.
    bool over_blocks = false;
  };
  std::map<uint64_t, Filter> filters;     // By the filter's id.
  std::map<uint64_t, std::string> norms;  // By the id of a batch norm's learned weight: "layer1.0.bn1".
  // The numbers of an entry ("layer1.0.conv1.weight") in torch's order.
  std::function<std::vector<float>(const std::string& entry)> numbers;
};

// Appends the traced ops to the builder and returns the name of the output's value. Convolutions and batch norms have
// the names of their modules, and tensors the names of their entries; a batch norm is folded into its convolution,
// whose bias then is "<module>.bias", unless keep_norms is set. input: the name of the graph's input. Throws Error if a
// value comes from an op that does not report to traces.
std::string write_network(OnnxBuilder& builder, const NetworkTrace& trace, const NetworkLayers& layers,
                          const Tensor& input, const std::string& input_name, const Tensor& output, bool keep_norms);

}  // namespace hr
