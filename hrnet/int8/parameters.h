// The numbers of a network with 8-bit integers.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "hrnet/int8/graph.h"

namespace hr {

// The bytes 0 to 255 stand for the numbers from `low` to `high`, where low <= 0 < high. The step is rounded such that 0
// is a byte, because it fills the borders.
struct Int8Range {
  float low = 0, high = 1;
  // Throws Error that names the range if it cannot be used.
  Int8Step step(const std::string& name) const;
};

// Gives the numbers of the nodes one after the other, so that a large file need not be in memory as a whole. The
// functions throw Error if the numbers are missing or have another size.
class Int8Source {
 public:
  virtual ~Int8Source() = default;
  virtual Int8Weights conv(const Int8Graph::Node& node) const = 0;  // Of Kind::conv.
  virtual Int8Float floats(const Int8Graph::Node& node) const = 0;  // Of the stem, the heads and Kind::depthwise.
  virtual Int8Range range(const std::string& name) const = 0;
  // Of a node with a filter, whose graph has factors of channels and whose result is bytes.
  virtual std::vector<float> factors(const Int8Graph::Node& node) const = 0;
};

// Gives every value of the graph its numbers of channels: those that `of` gives for the node that makes it, those of
// the terms beside each other for a concatenation, and those of the input if `of` gives none for a pooling.
std::vector<std::vector<float>> by_channels(const Int8Graph& graph,
                                            const std::function<std::vector<float>(const Int8Graph::Node&)>& of);
// The factors of all values. They are empty for floats, and if the graph has no factors.
std::vector<std::vector<float>> int8_factors(const Int8Graph& graph, const Int8Source& source);

// The numbers in memory. The keys are names of nodes.
struct Int8Parameters final : Int8Source {
  std::map<std::string, Int8Weights> convs;
  Int8Floats floats_of;
  std::map<std::string, Int8Range> ranges;
  std::map<std::string, std::vector<float>> factors_of;

  Int8Weights conv(const Int8Graph::Node& node) const override;
  Int8Float floats(const Int8Graph::Node& node) const override;
  Int8Range range(const std::string& name) const override;
  std::vector<float> factors(const Int8Graph::Node& node) const override;
};

}  // namespace hr
