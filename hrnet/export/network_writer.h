// Converts the trace of a network and the entries of its state dict to the nodes of an ONNX graph.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "hrnet/export/network_trace.h"
#include "hrnet/export/onnx_builder.h"

namespace hr {

// Maps the tensor ids of a trace to the names in the state dict.
struct NetworkLayers {
  struct Filter {
    // A module has a name such as "layer1.0.conv1". If there are several, their output channels follow each other.
    std::vector<std::string> modules;
    std::string norm;       // This batch norm is already folded in by the network itself; empty if there is none.
    double epsilon = 1e-5;  // This is the epsilon of that batch norm.
    // It is set for YOLOX's stem: its 3x3 filter over blocks of 2x2 pixels appears in the trace as a 6x6 filter over
    // pixels.
    bool over_blocks = false;
  };
  std::map<uint64_t, Filter> filters;  // The key is the filter's id.
  // The key is the id of a batch norm's learned weight; the value is a module such as "layer1.0.bn1".
  std::map<uint64_t, std::string> norms;
  // Returns the numbers of an entry ("layer1.0.conv1.weight") in PyTorch's order of dimensions.
  std::function<std::vector<float>(const std::string& entry)> numbers;
};

// Appends the traced ops to the builder and returns the name of the output's value. Convolutions and batch norms are
// named after their modules, and tensors after their entries. A batch norm is folded into its convolution, whose bias
// is then called "<module>.bias", unless keep_norms is set. input_name is the name of the graph's input. Throws Error
// if a value comes from an op that does not report to traces.
std::string write_network(OnnxBuilder& builder, const NetworkTrace& trace, const NetworkLayers& layers,
                          const Tensor& input, const std::string& input_name, const Tensor& output, bool keep_norms);

}  // namespace hr
