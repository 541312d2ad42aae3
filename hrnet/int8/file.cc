#include "hrnet/int8/file.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>

#include "core/error.h"

namespace hr {
namespace {

using Kind = Int8Graph::Kind;
using Node = Int8Graph::Node;

bool has_weights(const Node& node) {
  return node.kind != Kind::sum && node.kind != Kind::pool && node.kind != Kind::concat;
}

// The number of input channels of one filter.
int64_t inputs_of(const Node& node) { return node.kind == Kind::depthwise ? 1 : node.shape.in; }

Shape torch_shape(const Node& node) {
  const Int8Conv::Shape& s = node.shape;
  if (node.kind == Kind::depthwise) return {s.out, 1, s.kernel, s.kernel};
  return s.transposed ? Shape{s.in, s.out, s.kernel, s.kernel} : Shape{s.out, s.in, s.kernel, s.kernel};
}

// Calls body(index in [o, kh, kw, i], index in PyTorch's order) for every weight.
template <class Body>
void for_weights(const Node& node, const Body& body) {
  const Int8Conv::Shape& s = node.shape;
  const int64_t taps = int64_t{s.kernel} * s.kernel, in = inputs_of(node);
  for (int64_t o = 0; o < s.out; ++o) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t i = 0; i < in; ++i) {
        const int64_t torch = (s.transposed ? i * s.out + o : o * in + i) * taps + t;
        body(static_cast<size_t>((o * taps + t) * in + i), static_cast<size_t>(torch));
      }
    }
  }
}

class Int8PoseModel final : public PoseModel {
 public:
  Int8PoseModel(std::string name, int joints, bool bgr, Int8Graph graph, const Int8Source& source)
      : PoseModel(std::move(name), joints, bgr), network_(std::make_unique<Int8Network>(std::move(graph), source)) {}

  bool runs_by_itself() const override { return true; }
  size_t held_bytes() const override { return network_->weight_bytes() + network_->activation_bytes(); }

 protected:
  Tensor network(Context& cx, const Tensor& x) const override {
    check(!cx.device.is_cuda() && x.dtype() == DType::f32 && !cx.training && !cx.recording() && cx.trace == nullptr,
          "{}: weights of 8 bits are for inference on the CPU; use the float32 weights that they were made from",
          this->name());
    return network_->run(cx, x);
  }

 private:
  std::unique_ptr<Int8Network> network_;
};

// Calls make(). Errors then name the file.
template <class Make>
auto from_file(const std::string& path, const Make& make) {
  try {
    return make();
  } catch (const Error& e) {
    if (std::string_view(e.what()).starts_with(path)) throw;
    fail("{}: {}", path, e.what());
  }
}

void require_cpu(const Context& cx, const std::string& path) {
  check(!cx.device.is_cuda(),
        "{}: holds weights of 8 bits, which run on the CPU only; use `device` cpu, or the float32 weights that they "
        "were made from",
        path);
  check(cx.precision == DType::f32,
        "{}: holds weights of 8 bits, which always compute with 8-bit integers; bf16 is not possible with them", path);
}

}  // namespace

Int8File::Int8File(const WeightFile& file) : file_(file) {
  const auto text = file.metadata().find("graph");
  check(
      is_int8(file) && text != file.metadata().end(),
      "{}: holds weights of 8 bits without their graph, as they were written before; convert the float32 weights again",
      file.path().string());
  graph_ = parse_int8_graph(text->second, file.path().string() + ": its graph");
}

const ArrayView& Int8File::entry(const std::string& name, DType type, const Shape& shape) const {
  const std::string path = file_.path().string();
  const ArrayView* found = file_.find(name);
  check(found != nullptr, "{}: has no entry {}, so this is no complete file of 8-bit weights", path, name);
  check(found->dtype == type && found->shape == shape, "{}: {} is {} of {}; expected {} of {}", path, name,
        to_string(found->shape), name_of(found->dtype), to_string(shape), name_of(type));
  return *found;
}

std::vector<float> Int8File::numbers(const std::string& name, const Shape& shape) const {
  std::vector<float> values = entry(name, DType::f32, shape).to_f32();
  for (const float v : values)
    check(std::isfinite(v), "{}: {} has a number that is not finite", file_.path().string(), name);
  return values;
}

Int8Weights Int8File::conv(const Node& node) const {
  Int8Weights w;
  w.scale = numbers(node.name + ".weight_scale", {node.shape.out});
  w.bias = numbers(node.name + ".bias", {node.shape.out});
  std::vector<int8_t> torch(static_cast<size_t>(numel(torch_shape(node))));
  entry(node.name + ".weight", DType::i8, torch_shape(node)).copy_to(std::as_writable_bytes(std::span(torch)));
  w.values.resize(torch.size());
  for_weights(node, [&](size_t ours, size_t theirs) { w.values[ours] = torch[theirs]; });
  return w;
}

Int8Float Int8File::floats(const Node& node) const {
  const std::vector<float> torch = numbers(node.name + ".weight", torch_shape(node));
  Int8Float f;
  f.bias = numbers(node.name + ".bias", {node.shape.out});
  f.filter.resize(torch.size());
  for_weights(node, [&](size_t ours, size_t theirs) { f.filter[ours] = torch[theirs]; });
  return f;
}

Int8Range Int8File::range(const std::string& name) const {
  const std::vector<float> both = numbers(name + ".range", {2});
  return {both[0], both[1]};
}

std::vector<float> Int8File::factors(const Node& node) const {
  return numbers(node.name + ".factors", {node.shape.out});
}

void save_int8(const fs::path& path, const Int8Graph& graph, const Int8Parameters& p,
               std::map<std::string, std::string> metadata) {
  std::vector<NamedArray> arrays;
  std::deque<std::vector<int8_t>> bytes;
  std::deque<std::vector<float>> floats;
  const auto add_floats = [&](const std::string& name, const Shape& shape, std::vector<float> values) {
    const auto& kept = floats.emplace_back(std::move(values));
    arrays.push_back({name, DType::f32, shape, std::as_bytes(std::span(kept))});
  };
  for (const Node& node : graph.nodes) {
    if (!has_weights(node)) continue;
    const Shape shape = torch_shape(node), outs{node.shape.out};
    if (node.kind == Kind::conv) {
      const Int8Weights& w = p.convs.at(node.name);
      auto& torch = bytes.emplace_back(w.values.size());
      for_weights(node, [&](size_t ours, size_t theirs) { torch[theirs] = w.values[ours]; });
      arrays.push_back({node.name + ".weight", DType::i8, shape, std::as_bytes(std::span(torch))});
      add_floats(node.name + ".weight_scale", outs, w.scale);
      add_floats(node.name + ".bias", outs, w.bias);
    } else {
      const Int8Float& f = p.floats_of.at(node.name);
      std::vector<float> torch(f.filter.size());
      for_weights(node, [&](size_t ours, size_t theirs) { torch[theirs] = f.filter[ours]; });
      add_floats(node.name + ".weight", shape, std::move(torch));
      add_floats(node.name + ".bias", outs, f.bias);
    }
  }
  for (const auto& [name, factors] : p.factors_of)
    add_floats(name + ".factors", {static_cast<int64_t>(factors.size())}, factors);
  for (const auto& [name, range] : p.ranges) add_floats(name + ".range", {2}, {range.low, range.high});
  metadata["format"] = "pt";
  metadata["precision"] = "int8";
  metadata["graph"] = int8_graph_text(graph);
  write_safetensors(path, arrays, metadata);
}

std::unique_ptr<PoseModel> make_int8_model(std::string name, int joints, bool bgr_input, Int8Graph graph,
                                           const Int8Source& source) {
  return std::make_unique<Int8PoseModel>(std::move(name), joints, bgr_input, std::move(graph), source);
}

std::unique_ptr<PoseModel> load_int8_model(const Context& cx, const WeightFile& file, const std::string& name,
                                           int joints) {
  const std::string path = file.path().string();
  require_cpu(cx, path);
  const ModelGuess guess = guess_model(file);
  check(guess.model == name && guess.joints == joints, "{}: this is {}; you asked for {} with {} joints", path,
        guess.what, name, joints);
  const Int8File parts(file);
  const Int8Graph& graph = parts.graph();
  const auto head =
      std::find_if(graph.nodes.begin(), graph.nodes.end(), [](const Node& n) { return n.kind == Kind::head; });
  check(graph.columns == 0 && head->shape.out == joints, "{}: its graph is for another network", path);
  return from_file(
      path, [&] { return make_int8_model(name, joints, declare_model(name, joints)->bgr_input(), graph, parts); });
}

std::unique_ptr<Int8Network> load_int8_detector(const Context& cx, const WeightFile& file) {
  const std::string path = file.path().string();
  require_cpu(cx, path);
  const std::optional<YoloxInfo> info = yolox_info(file);
  const Int8File parts(file);
  check(info && parts.graph().columns == 5 + info->shape.classes, "{}: its graph is for another network", path);
  return from_file(path, [&] { return std::make_unique<Int8Network>(parts.graph(), parts); });
}

}  // namespace hr
