#include "hrnet/export/network_writer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace hr {
namespace {

using Ints = std::vector<int64_t>;

struct Scale {
  std::vector<double> scale, shift;  // Both have one number per output channel.
};

class Writer {
 public:
  Writer(OnnxBuilder& builder, const NetworkTrace& trace, const NetworkLayers& layers, bool keep_norms)
      : b_(builder), layers_(layers), keep_norms_(keep_norms) {
    for (const TracedOp& op : trace.ops()) {
      if (const auto* norm = std::get_if<TracedOps::Norm>(&op)) norms_.emplace(norm->x, *norm);
    }
  }

  void name(uint64_t id, const std::string& value) { values_[id] = {{value, 0}}; }

  void operator()(const TracedOps::Conv& op) {
    const auto found = layers_.filters.find(op.filter);
    check(found != layers_.filters.end(), "export: the filter of a convolution is not a parameter of the network");
    const NetworkLayers::Filter& filter = found->second;
    std::vector<Part> parts;
    for (const std::string& module : filter.modules) parts.push_back(convolution(op, filter, module));
    if (parts.size() > 1) {
      check(!op.silu && !op.relu && op.add == 0,
            "export: {}: a convolution that joins several modules must have no activation and no addition",
            filter.modules[0]);
      values_[op.y] = std::move(parts);
      return;
    }
    std::string y = parts[0].name;
    if (op.silu) y = b_.node("Mul", {y, b_.node("Sigmoid", {y})});
    if (op.add != 0) y = b_.node("Add", {y, value(op.add)});
    if (op.relu) y = b_.node("Relu", {y});
    name(op.y, y);
  }

  void operator()(const TracedOps::Norm& op) {
    check(values_.count(op.x) != 0, "export: a batch norm does not follow a convolution");
  }

  void operator()(const TracedOps::Fuse& op) {
    std::string y;
    for (const TracedOps::Term& term : op.terms) {
      const std::string x = upsampled(term);
      y = y.empty() ? x : b_.node("Add", {y, x});
    }
    name(op.y, op.relu ? b_.node("Relu", {y}) : y);
  }

  void operator()(const TracedOps::Pool& op) {
    const int64_t k = op.options.kernel, s = op.options.stride, p = op.options.pad;
    name(op.y, b_.node("MaxPool", {value(op.x)},
                       {{"kernel_shape", Ints{k, k}}, {"strides", Ints{s, s}}, {"pads", Ints{p, p, p, p}}}));
  }

  void operator()(const TracedOps::Concat& op) {
    std::vector<std::string> inputs;
    for (const TracedOps::Term& term : op.terms) inputs.push_back(upsampled(term));
    name(op.y, b_.node("Concat", inputs, {{"axis", int64_t{1}}}));
  }

  // The rows of the table are built in output(), when all of its parts are known.
  void operator()(const TracedOps::Pixels& op) { tables_[op.table].push_back(op); }

  std::string output(uint64_t id) {
    const auto table = tables_.find(id);
    return table == tables_.end() ? value(id) : rows(table->second);
  }

 private:
  struct Part {
    std::string name;
    int64_t channels = 0;  // It is set only if a value has several parts.
  };

  const std::string& value(uint64_t id) const {
    const auto found = values_.find(id);
    check(found != values_.end() && found->second.size() == 1,
          "export: a value of the network was made by an op that ONNX export does not know");
    return found->second[0].name;
  }

  std::string upsampled(const TracedOps::Term& term) {
    const std::string& x = value(term.x);
    if (term.up == 0) return x;
    const auto times = static_cast<float>(1 << term.up);
    const std::string scales = fmt::format("scales_{}", 1 << term.up);
    if (std::find(scales_.begin(), scales_.end(), scales) == scales_.end()) {
      scales_.push_back(b_.floats(scales, {4}, {1, 1, times, times}));
    }
    return b_.node("Resize", {x, "", scales},
                   {{"mode", std::string("nearest")},
                    {"coordinate_transformation_mode", std::string("asymmetric")},
                    {"nearest_mode", std::string("floor")}});
  }

  Scale scale_of(const std::string& norm, double epsilon) const {
    const auto part = [&](const char* which) { return layers_.numbers(norm + which); };
    const std::vector<float> weight = part(".weight"), bias = part(".bias"), mean = part(".running_mean"),
                             variance = part(".running_var");
    Scale s;
    for (size_t c = 0; c < weight.size(); ++c) {
      s.scale.push_back(weight[c] / std::sqrt(static_cast<double>(variance[c]) + epsilon));
      s.shift.push_back(bias[c] - mean[c] * s.scale[c]);
    }
    return s;
  }

  // Turns blocks of 2x2 pixels into 12 channels, in the order of the official code: (y, x) = (0, 0), (1, 0), (0, 1),
  // (1, 1).
  std::string blocks(const std::string& x) {
    constexpr int64_t end = std::numeric_limits<int32_t>::max();
    std::vector<std::string> parts;
    for (const auto& [row, column] : {std::pair<int64_t, int64_t>{0, 0}, {1, 0}, {0, 1}, {1, 1}}) {
      parts.push_back(b_.node(
          "Slice", {x, b_.constant({row, column}), b_.constant({end, end}), b_.constant({2, 3}), b_.constant({2, 2})}));
    }
    return b_.node("Concat", parts, {{"axis", int64_t{1}}});
  }

  Part convolution(const TracedOps::Conv& op, const NetworkLayers::Filter& filter, const std::string& module) {
    std::vector<float> w = layers_.numbers(module + ".weight");
    std::vector<float> bias;
    if (op.bias != 0 && filter.norm.empty()) bias = layers_.numbers(module + ".bias");
    const int64_t out = filter.modules.size() > 1 ? static_cast<int64_t>(bias.size()) : op.out;
    const int64_t kh = filter.over_blocks ? op.kernel_h / 2 : op.kernel_h;
    const int64_t kw = filter.over_blocks ? op.kernel_w / 2 : op.kernel_w;
    const int64_t in = op.depthwise ? 1 : filter.over_blocks ? 4 * op.in : op.in;
    const Shape shape = op.transposed ? Shape{in, out, kh, kw} : Shape{out, in, kh, kw};
    check(static_cast<int64_t>(w.size()) == numel(shape), "export: {}.weight has {} numbers, expected {}", module,
          w.size(), to_string(shape));

    std::string norm = filter.norm;
    double epsilon = filter.epsilon;
    if (const auto next = norms_.find(op.y); next != norms_.end()) {
      norm = layers_.norms.at(next->second.weight);
      epsilon = next->second.epsilon;
    }
    if (!norm.empty() && !keep_norms_) {
      const Scale s = scale_of(norm, epsilon);
      const int64_t each = op.transposed ? kh * kw : in * kh * kw;
      for (size_t i = 0; i < w.size(); ++i)
        w[i] = static_cast<float>(w[i] * s.scale[static_cast<int64_t>(i) / each % out]);
      bias.assign(s.shift.begin(), s.shift.end());
    }

    std::vector<std::string> inputs{filter.over_blocks ? blocks(value(op.x)) : value(op.x),
                                    b_.weight(module + ".weight", shape, std::move(w))};
    if (!bias.empty()) inputs.push_back(b_.floats(module + ".bias", {out}, std::move(bias)));
    const int64_t stride = filter.over_blocks ? 1 : op.stride, pad = filter.over_blocks ? 1 : op.pad;
    std::vector<OnnxAttribute> attributes{
        {"kernel_shape", Ints{kh, kw}}, {"strides", Ints{stride, stride}}, {"pads", Ints{pad, pad, pad, pad}}};
    if (op.depthwise) attributes.push_back({"group", out});
    std::string y = b_.node(op.transposed ? "ConvTranspose" : "Conv", inputs, attributes, module);
    if (!norm.empty() && keep_norms_) {
      inputs = {y};
      for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"})
        inputs.push_back(b_.floats(norm + part, {out}, layers_.numbers(norm + part)));
      y = b_.node("BatchNormalization", inputs, {{"epsilon", static_cast<float>(epsilon)}}, norm);
    }
    return {y, out};
  }

  // Builds a table [N, rows, columns] from maps [N, channels, H, W]. The first `plain` channels of each map are copied;
  // the sigmoid is applied to the other channels.
  std::string rows(std::vector<TracedOps::Pixels> maps) {
    std::sort(maps.begin(), maps.end(), [](const auto& a, const auto& b) {
      return std::pair(a.part.first_row, a.part.first_column) < std::pair(b.part.first_row, b.part.first_column);
    });
    std::vector<std::string> levels;
    for (size_t i = 0; i < maps.size();) {
      const int64_t row = maps[i].part.first_row;
      std::vector<std::string> columns;
      for (; i < maps.size() && maps[i].part.first_row == row; ++i) {
        int64_t plain = maps[i].part.plain;
        for (const Part& part : values_.at(maps[i].x)) {
          check(plain == 0 || (part.channels > 0 && plain >= part.channels),
                "export: the plain columns of a table end inside of a module's output");
          columns.push_back(plain > 0 ? part.name : b_.node("Sigmoid", {part.name}));
          plain -= std::min(plain, part.channels);
        }
      }
      const std::string level = b_.node("Concat", columns, {{"axis", int64_t{1}}});
      levels.push_back(b_.node("Reshape", {level, b_.constant({0, 0, -1})}));
    }
    return b_.node("Transpose", {b_.node("Concat", levels, {{"axis", int64_t{2}}})}, {{"perm", Ints{0, 2, 1}}});
  }

  OnnxBuilder& b_;
  const NetworkLayers& layers_;
  bool keep_norms_;
  std::map<uint64_t, std::vector<Part>> values_;
  std::map<uint64_t, TracedOps::Norm> norms_;  // The key is the value that the batch norm normalises.
  std::map<uint64_t, std::vector<TracedOps::Pixels>> tables_;
  std::vector<std::string> scales_;
};

}  // namespace

std::string write_network(OnnxBuilder& builder, const NetworkTrace& trace, const NetworkLayers& layers,
                          const Tensor& input, const std::string& input_name, const Tensor& output, bool keep_norms) {
  Writer writer(builder, trace, layers, keep_norms);
  writer.name(input.id(), input_name);
  for (const TracedOp& op : trace.ops()) std::visit([&](const auto& traced) { writer(traced); }, op);
  return writer.output(output.id());
}

}  // namespace hr
