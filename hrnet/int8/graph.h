// The graph of a pose network as it is computed with 8-bit integers: which tensors are bytes, which are floats, and
// which additions are done in the epilogue of a convolution. It is recorded from a run of the network's own forward
// function (hrnet/export/network_trace.h), so there is no second definition of a network.
#pragma once
#include <string>
#include <vector>

#include "hrnet/export/network_trace.h"
#include "hrnet/model/model.h"
#include "ops/conv/int8_conv.h"

namespace hr {

struct Int8Graph {
  enum class Kind {
    stem,  // The first convolution, in float, whose result is rounded to bytes.
    conv,  // A convolution of bytes.
    sum,   // y = max(0, sum of terms)
    pool,  // Max pooling of bytes.
    head   // The convolution that makes the heatmaps, in float.
  };
  struct Term {
    int value = 0, up = 0;
  };
  struct Node {
    Kind kind = Kind::conv;
    std::string name;  // The module of the convolution, such as "layer1.0.conv1". A sum has that of its first term.
    std::string norm;  // The batch norm that is folded into the convolution; empty if it has none.
    Int8Conv::Shape shape;
    bool relu = false;
    int x = -1, y = -1, add = -1;  // Indices of values; -1 means that there is none.
    std::vector<Term> terms;
    MaxPool2d pool;
    int level = 0;  // A node needs only results of nodes with a lower level.
  };
  struct Value {
    int64_t channels = 0;
    bool bytes = false;
    std::string range;  // The name of the range by which it is quantised, which is the name of a node.
  };

  std::vector<Node> nodes;  // In an order in which they can be computed.
  std::vector<Value> values;
  int output = -1;
  // The names of the results of all calls of `fuse` in a forward pass, in their order; their ranges are calibrated.
  std::vector<std::string> fused;
};

// Records the graph from a run of the model, which must have memory on the CPU and evaluate in float32. Throws Error if
// the network has an op or an order of ops that is not supported.
Int8Graph int8_graph(const PoseModel& model);

}  // namespace hr
