// Weight files of networks with 8-bit integers: safetensors with the names and layouts of PyTorch. For a convolution
// `m` of bytes the file has
//   m.weight        I8 in PyTorch's shape     m.weight_scale  F32 [out]     m.bias  F32 [out], batch norm folded in
// for convolutions in float m.weight and m.bias in F32, and for every range of bytes, which is named after a
// convolution that makes such bytes, m.range, F32 [2], the numbers for which the bytes 0 and 255 stand. In a file of a
// detector each convolution m that makes bytes also has m.factors, F32 [out]: its numbers are those of the range times
// the factor of the channel, and the weights that read them are the network's times the factor. Files that were written
// before there were factors have none and are read as well. The metadata
// has precision = int8, the graph (hrnet/int8/graph.h), the network's own entries, how the ranges were chosen, and the
// SHA-256 of the float32 weights. A detector's metadata has input = bgr_255 or rgb_normalised.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "hrnet/int8/network.h"
#include "hrnet/model/load.h"

namespace hr {

// Writes a quantised network. `metadata` must have model, and joints or input. Throws Error if the file cannot be
// written.
void save_int8(const fs::path& path, const Int8Graph& graph, const Int8Parameters& parameters,
               std::map<std::string, std::string> metadata);

// Reads the parts of such a file. Throws Error if an entry is missing or has another shape or type, or if a number
// cannot be used; the constructor throws it if the file has no graph, as those that were written before there was one.
class Int8File final : public Int8Source {
 public:
  // The file must outlive this object.
  explicit Int8File(const WeightFile& file);
  const Int8Graph& graph() const { return graph_; }
  Int8Weights conv(const Int8Graph::Node& node) const override;
  Int8Float floats(const Int8Graph::Node& node) const override;
  Int8Range range(const std::string& name) const override;
  std::vector<float> factors(const Int8Graph::Node& node) const override;

 private:
  const ArrayView& entry(const std::string& name, DType type, const Shape& shape) const;
  std::vector<float> numbers(const std::string& name, const Shape& shape) const;

  const WeightFile& file_;
  Int8Graph graph_;
};

// A pose network that computes with 8-bit integers on the CPU. It has no parameters that could be trained or exported.
std::unique_ptr<PoseModel> make_int8_model(std::string name, int joints, bool bgr_input, Int8Graph graph,
                                           const Int8Source& source);

// Loads a file of save_int8. Throws Error with the reason if the context's device is no CPU, if its precision is not
// float32, if the file is for another network than the one asked for, or as Int8File.
std::unique_ptr<PoseModel> load_int8_model(const Context& cx, const WeightFile& file, const std::string& name,
                                           int joints);
// The same for a YOLOX. Its run() is that of Yolox::forward.
std::unique_ptr<Int8Network> load_int8_detector(const Context& cx, const WeightFile& file);

}  // namespace hr
