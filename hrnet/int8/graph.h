// The graph of a network as it is computed with 8-bit integers: which tensors are bytes, which are floats, and which
// additions are done in the epilogue of a convolution. It is recorded from a run of the network's own forward function
// (hrnet/export/network_trace.h), so there is no second definition of a network. A file of 8-bit weights contains its
// graph, so that nobody needs the float32 network to open it.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hrnet/export/network_trace.h"
#include "hrnet/model/model.h"
#include "hrnet/model/yolox.h"
#include "ops/conv/int8_conv.h"

namespace hr {

struct Int8Graph {
  enum class Kind {
    stem,       // The first convolution, in float. Its result is rounded to bytes, or stays float for a depthwise one.
    conv,       // A convolution of bytes.
    depthwise,  // A depthwise convolution of bytes or floats, with float weights, whose result is rounded to bytes.
    sum,        // y = max(0, sum of terms)
    pool,       // Max pooling of bytes.
    concat,     // The channels of the terms beside each other.
    head        // A convolution in float that makes heatmaps or columns of a detector's table.
  };
  enum class Act { none, relu, silu };
  struct Term {
    int value = 0, up = 0;
    bool operator==(const Term&) const = default;
  };
  struct Node {
    Kind kind = Kind::conv;
    std::string name;  // The module of the convolution, such as "layer1.0.conv1". A sum has that of its first term.
    std::string norm;  // The batch norm that is folded into the convolution; known while the graph is recorded.
    Int8Conv::Shape shape;
    Act act = Act::none;
    int x = -1, y = -1, add = -1;  // Indices of values; -1 means that there is none, or the network's input.
    std::vector<Term> terms;
    MaxPool2d pool;
    // Of a detector's head: the first column of the table, the place of its map among the maps of all sizes, and
    // whether the sigmoid is written.
    int column = 0, map = 0;
    bool sigmoid = false;
    int level = 0;  // A node needs only results of nodes with a lower level.
  };
  struct Value {
    int64_t channels = 0;
    bool bytes = false;
    std::string range;  // The name of the range by which it is quantised, which is the name of a node.
  };

  std::vector<Node> nodes;  // In an order in which they can be computed.
  std::vector<Value> values;
  // The channels of bytes have factors (Int8Steps), which their readers have in their weights. Convolutions must then
  // have SiLU, and there are no sums.
  bool channels = false;
  int64_t columns = 0;  // Of a detector's table; 0 for a pose network, whose only head makes the heatmaps.
  // The values that the calls of `fuse` give in a forward pass, or those of convolutions with SiLU and of pooling, in
  // their order; they are calibrated. A result that is no tensor of bytes is -1. Known while the graph is recorded.
  std::vector<int> observed;
};

// The filter [o, kh, kw, i] and the bias [o] of a convolution in float32, with batch norm folded in.
struct Int8Float {
  std::vector<float> filter, bias;
};
using Int8Floats = std::map<std::string, Int8Float>;  // The key is the name of a node.

// Records the graph from a run of the model, which must have memory on the CPU and evaluate in float32. Throws Error if
// the network has an op or an order of ops that is not supported. That of a detector also gives its weights.
Int8Graph int8_graph(const PoseModel& model);
Int8Graph int8_graph(const Yolox& model, Int8Floats& weights);

// Writes the graph as JSON, and reads it. `name` is the file in messages. The reader throws Error unless the nodes can
// be computed in their order from values of the right kind and number of channels.
std::string int8_graph_text(const Int8Graph& graph);
Int8Graph parse_int8_graph(std::string_view text, const std::string& name);

// Sets the levels of the nodes, which must be in an order in which they can be computed.
void set_levels(Int8Graph& graph);

}  // namespace hr
