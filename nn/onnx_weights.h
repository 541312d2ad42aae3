// Reads the state dict of an ONNX file: the tensors of its convolutions and batch norms, under PyTorch's names.
#pragma once
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "core/io/onnx.h"

namespace hr {

// PyTorch's exporter keeps the names of a module's tensors ("layer1.0.conv1.weight"), except where it folds batch norm
// into a convolution: it then calls the new tensors "onnx::Conv_123", and only the node's name
// ("/layer1/layer1.0/conv1/Conv") tells the module. Both forms are read, and so are equal tensors that the exporter
// stored only once.
//
// If the exporter folded batch norm into a convolution, this struct adds the entries of an identity batch norm whose
// bias is the convolution's bias: weight 1, running_mean 0 and running_var 1 - epsilon. The file therefore loads like
// any other state dict of the network.
struct OnnxWeights {
  // The file must outlive this object, whose arrays are views of it. Throws Error if the tensors have no names, or if
  // the file contains no convolution.
  explicit OnnxWeights(const OnnxFile& file);

  // The entries are in the order in which the graph uses them. Tensors that belong to no layer (shapes, scales,
  // constants) are left out.
  std::deque<std::pair<std::string, ArrayView>> entries;

 private:
  std::deque<std::vector<float>> made_;
};

}  // namespace hr
