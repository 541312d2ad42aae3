#include "hrnet/export/int8_writer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"

namespace hr {
namespace {

using Ints = std::vector<int64_t>;
using Kind = Int8Graph::Kind;
using Node = Int8Graph::Node;

// Converts [o, kh, kw, i] to ONNX's [o, i, kh, kw], or to [i, o, kh, kw] for a transposed convolution.
template <class T>
std::vector<T> in_onnx_order(const std::vector<T>& filter, const Int8Conv::Shape& s, int64_t in) {
  std::vector<T> to(filter.size());
  const int64_t taps = int64_t{s.kernel} * s.kernel;
  for (int64_t o = 0; o < s.out; ++o) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t i = 0; i < in; ++i) {
        const int64_t at = (s.transposed ? i * s.out + o : o * in + i) * taps + t;
        to[static_cast<size_t>(at)] = filter[static_cast<size_t>((o * taps + t) * in + i)];
      }
    }
  }
  return to;
}

class Writer {
 public:
  Writer(OnnxBuilder& builder, const Int8Graph& graph, const Int8Source& source, std::string input)
      : b_(builder),
        graph_(graph),
        source_(source),
        input_(std::move(input)),
        values_(graph.values.size()),
        factors_(int8_factors(graph, source)) {}

  std::string write() {
    for (const Node& node : graph_.nodes) {
      if (node.kind == Kind::head) {
        head(node);
      } else {
        set(node.y, float_result(node));
      }
    }
    return graph_.columns > 0 ? table() : output_;
  }

 private:
  const std::string& value(int v) const { return values_[static_cast<size_t>(v)]; }

  // Names the scale and the zero of a value.
  std::pair<std::string, std::string> step_names(int v) {
    const std::string& range = graph_.values[static_cast<size_t>(v)].range;
    if (written_.insert(range).second) {
      const Int8Step step = source_.range(range).step(range);
      b_.floats(range + ".scale", {}, {step.scale});
      b_.bytes(range + ".zero", {}, std::vector<uint8_t>{static_cast<uint8_t>(step.zero)});
    }
    return {range + ".scale", range + ".zero"};
  }

  void set(int v, std::string result) {
    if (graph_.values[static_cast<size_t>(v)].bytes) {
      const auto [scale, zero] = step_names(v);
      result = b_.node("QuantizeLinear", {result, scale, zero}, {}, fmt::format("quantize_{}", v));
      result = b_.node("DequantizeLinear", {result, scale, zero});
    }
    values_[static_cast<size_t>(v)] = std::move(result);
  }

  // Writes the convolution of a node without its activation.
  std::string convolution(const Node& node) {
    const auto& s = node.shape;
    const int64_t in = node.kind == Kind::depthwise ? 1 : s.in;
    const Shape shape = s.transposed ? Shape{in, s.out, s.kernel, s.kernel} : Shape{s.out, in, s.kernel, s.kernel};
    std::vector<std::string> inputs{node.kind == Kind::stem ? input_ : value(node.x)};
    if (node.kind == Kind::conv) {
      add_rounded_weights(node, shape, inputs);
    } else {
      Int8Float f = source_.floats(node);
      inputs.push_back(b_.floats(node.name + ".weight", shape, in_onnx_order(f.filter, s, in)));
      inputs.push_back(b_.floats(node.name + ".bias", {s.out}, std::move(f.bias)));
    }
    const int64_t stride = s.stride, pad = s.pad, kernel = s.kernel;
    std::vector<OnnxAttribute> attributes{
        {"kernel_shape", Ints{kernel, kernel}}, {"strides", Ints{stride, stride}}, {"pads", Ints{pad, pad, pad, pad}}};
    if (node.kind == Kind::depthwise) attributes.push_back({"group", s.out});
    return b_.node(s.transposed ? "ConvTranspose" : "Conv", inputs, attributes, node.name);
  }

  void add_rounded_weights(const Node& node, const Shape& shape, std::vector<std::string>& inputs) {
    const auto& s = node.shape;
    const Int8Weights w = source_.conv(node);
    const auto outs = static_cast<size_t>(s.out);
    const float in_scale = source_.range(range_of(node.x)).step(range_of(node.x)).scale;
    std::vector<float> units(outs);
    std::vector<int32_t> bias(outs);
    for (size_t o = 0; o < outs; ++o) {
      const double unit = static_cast<double>(in_scale) * w.scale[o], most = 1 << 30;
      units[o] = static_cast<float>(unit);
      bias[o] = static_cast<int32_t>(std::clamp(std::nearbyint(w.bias[o] / unit), -most, most));
    }
    const OnnxAttribute axis{"axis", int64_t{s.transposed ? 1 : 0}};
    const std::string scale = b_.floats(node.name + ".weight_scale", {s.out}, w.scale),
                      zeros = b_.bytes(node.name + ".weight_zero", {s.out}, std::vector<int8_t>(outs, 0)),
                      weight = b_.bytes(node.name + ".weight", shape, in_onnx_order(w.values, s, s.in));
    inputs.push_back(b_.node("DequantizeLinear", {weight, scale, zeros}, {axis}));
    const std::string unit = b_.floats(node.name + ".bias_scale", {s.out}, std::move(units)),
                      whole = b_.ints(node.name + ".bias", {s.out}, std::move(bias));
    inputs.push_back(b_.node("DequantizeLinear", {whole, unit}, {{"axis", int64_t{0}}}));
  }

  const std::vector<float>& factors_of(int v) const { return factors_[static_cast<size_t>(v)]; }

  // Multiplies the channels of x by numbers, unless there are none.
  std::string times(const std::string& x, const std::string& name, std::vector<float> numbers) {
    if (numbers.empty()) return x;
    const auto channels = static_cast<int64_t>(numbers.size());
    return b_.node("Mul", {x, b_.floats(name, {1, channels, 1, 1}, std::move(numbers))});
  }

  const std::string& range_of(int v) const { return graph_.values[static_cast<size_t>(v)].range; }

  std::string upsampled(const Int8Graph::Term& term) {
    const std::string& x = value(term.value);
    if (term.up == 0) return x;
    const auto times = static_cast<float>(1 << term.up);
    const std::string scales = fmt::format("scales_{}", 1 << term.up);
    if (written_.insert(scales).second) b_.floats(scales, {4}, {1, 1, times, times});
    return b_.node("Resize", {x, "", scales},
                   {{"mode", std::string("nearest")},
                    {"coordinate_transformation_mode", std::string("asymmetric")},
                    {"nearest_mode", std::string("floor")}});
  }

  // Writes a node but for the rounding of its result.
  std::string float_result(const Node& node) {
    if (node.kind == Kind::pool) {
      const int64_t k = node.pool.kernel, s = node.pool.stride, p = node.pool.pad;
      return b_.node("MaxPool", {value(node.x)},
                     {{"kernel_shape", Ints{k, k}}, {"strides", Ints{s, s}}, {"pads", Ints{p, p, p, p}}});
    }
    if (node.kind == Kind::concat) {
      std::vector<std::string> inputs;
      for (const Int8Graph::Term& term : node.terms) inputs.push_back(upsampled(term));
      return b_.node("Concat", inputs, {{"axis", int64_t{1}}});
    }
    std::string y;
    if (node.kind == Kind::sum) {
      for (const Int8Graph::Term& term : node.terms) {
        const std::string x = upsampled(term);
        y = y.empty() ? x : b_.node("Add", {y, x});
      }
      return b_.node("Relu", {y});
    }
    y = convolution(node);
    if (node.act == Int8Graph::Act::silu) y = b_.node("Mul", {y, b_.node("Sigmoid", {y})});
    if (node.add >= 0)
      y = b_.node("Add", {y, times(value(node.add), node.name + ".add_factors", factors_of(node.add))});
    std::vector<float> inverse = factors_of(node.y);
    for (float& f : inverse) f = 1.0F / f;
    y = times(y, node.name + ".inverse_factors", std::move(inverse));
    return node.act == Int8Graph::Act::relu ? b_.node("Relu", {y}) : y;
  }

  void head(const Node& node) {
    output_ = convolution(node);
    if (graph_.columns == 0) return;
    columns_[node.map][node.column] = node.sigmoid ? b_.node("Sigmoid", {output_}) : output_;
  }

  // Builds a table [N, rows, columns] from maps [N, channels, H, W].
  std::string table() {
    std::vector<std::string> maps;
    for (const auto& [map, columns] : columns_) {
      std::vector<std::string> parts;
      for (const auto& [column, name] : columns) parts.push_back(name);
      const std::string joined = b_.node("Concat", parts, {{"axis", int64_t{1}}});
      maps.push_back(b_.node("Reshape", {joined, b_.constant({0, 0, -1})}));
    }
    return b_.node("Transpose", {b_.node("Concat", maps, {{"axis", int64_t{2}}})}, {{"perm", Ints{0, 2, 1}}});
  }

  OnnxBuilder& b_;
  const Int8Graph& graph_;
  const Int8Source& source_;
  std::string input_, output_;
  std::vector<std::string> values_;          // By value of the graph; of bytes, the name after DequantizeLinear.
  std::vector<std::vector<float>> factors_;  // By value of the graph.
  std::set<std::string> written_;            // Ranges and scales.
  std::map<int, std::map<int, std::string>> columns_;  // By map and first column.
};

}  // namespace

std::string write_int8_network(OnnxBuilder& builder, const Int8Graph& graph, const Int8Source& source,
                               const std::string& input_name) {
  return Writer(builder, graph, source, input_name).write();
}

}  // namespace hr
