#include "hrnet/int8/file.h"

#include <cmath>
#include <deque>

#include "core/error.h"

namespace hr {
namespace {

using Kind = Int8Graph::Kind;
using Node = Int8Graph::Node;

bool has_weights(const Node& node) { return node.kind != Kind::sum && node.kind != Kind::pool; }

Shape torch_shape(const Int8Conv::Shape& s) {
  return s.transposed ? Shape{s.in, s.out, s.kernel, s.kernel} : Shape{s.out, s.in, s.kernel, s.kernel};
}

// Calls body(index in [o, kh, kw, i], index in PyTorch's order) for every weight.
template <class Body>
void for_weights(const Int8Conv::Shape& s, const Body& body) {
  const int64_t taps = s.kernel * s.kernel;
  for (int64_t o = 0; o < s.out; ++o) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t i = 0; i < s.in; ++i) {
        const int64_t torch = ((s.transposed ? i * s.out + o : o * s.in + i)) * taps + t;
        body(static_cast<size_t>((o * taps + t) * s.in + i), static_cast<size_t>(torch));
      }
    }
  }
}

class Int8PoseModel final : public PoseModel {
 public:
  Int8PoseModel(std::string name, int joints, bool bgr, Int8Graph graph, const Int8Parameters& parameters)
      : PoseModel(std::move(name), joints, bgr),
        network_(std::make_unique<Int8Network>(std::move(graph), parameters)) {}

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

// Reads entries and checks their types and shapes.
class Reader {
 public:
  explicit Reader(const WeightFile& file) : file_(file) {}

  const ArrayView& entry(const std::string& name, DType type, const Shape& shape) const {
    const ArrayView* found = file_.find(name);
    check(found != nullptr, "{}: has no entry {}, so this is no complete file of 8-bit weights", path(), name);
    check(found->dtype == type && found->shape == shape, "{}: {} is {} of {}; expected {} of {}", path(), name,
          to_string(found->shape), name_of(found->dtype), to_string(shape), name_of(type));
    return *found;
  }
  std::vector<float> floats(const std::string& name, const Shape& shape) const {
    std::vector<float> values = entry(name, DType::f32, shape).to_f32();
    for (const float v : values) check(std::isfinite(v), "{}: {} has a number that is not finite", path(), name);
    return values;
  }
  std::string path() const { return file_.path().string(); }

 private:
  const WeightFile& file_;
};

Int8Weights read_conv(const Reader& reader, const Node& node) {
  const Int8Conv::Shape& s = node.shape;
  Int8Weights w;
  w.scale = reader.floats(node.name + ".weight_scale", {s.out});
  w.bias = reader.floats(node.name + ".bias", {s.out});
  std::vector<int8_t> torch(static_cast<size_t>(numel(torch_shape(s))));
  reader.entry(node.name + ".weight", DType::i8, torch_shape(s)).copy_to(std::as_writable_bytes(std::span(torch)));
  w.values.resize(torch.size());
  for_weights(s, [&](size_t ours, size_t theirs) { w.values[ours] = torch[theirs]; });
  return w;
}

Int8Parameters::Float read_float(const Reader& reader, const Node& node) {
  const std::vector<float> torch = reader.floats(node.name + ".weight", torch_shape(node.shape));
  Int8Parameters::Float f;
  f.bias = reader.floats(node.name + ".bias", {node.shape.out});
  f.filter.resize(torch.size());
  for_weights(node.shape, [&](size_t ours, size_t theirs) { f.filter[ours] = torch[theirs]; });
  return f;
}

}  // namespace

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
    const Shape shape = torch_shape(node.shape), outs{node.shape.out};
    if (node.kind == Kind::conv) {
      const Int8Weights& w = p.convs.at(node.name);
      auto& torch = bytes.emplace_back(w.values.size());
      for_weights(node.shape, [&](size_t ours, size_t theirs) { torch[theirs] = w.values[ours]; });
      arrays.push_back({node.name + ".weight", DType::i8, shape, std::as_bytes(std::span(torch))});
      add_floats(node.name + ".weight_scale", outs, w.scale);
      add_floats(node.name + ".bias", outs, w.bias);
    } else {
      const Int8Parameters::Float& f = p.floats.at(node.name);
      std::vector<float> torch(f.filter.size());
      for_weights(node.shape, [&](size_t ours, size_t theirs) { torch[theirs] = f.filter[ours]; });
      add_floats(node.name + ".weight", shape, std::move(torch));
      add_floats(node.name + ".bias", outs, f.bias);
    }
  }
  for (const auto& [name, range] : p.ranges) add_floats(name + ".range", {1}, {range});
  metadata["format"] = "pt";
  metadata["precision"] = "int8";
  write_safetensors(path, arrays, metadata);
}

std::unique_ptr<PoseModel> make_int8_model(std::string name, int joints, bool bgr_input, Int8Graph graph,
                                           const Int8Parameters& parameters) {
  return std::make_unique<Int8PoseModel>(std::move(name), joints, bgr_input, std::move(graph), parameters);
}

std::unique_ptr<PoseModel> load_int8_model(const Context& cx, const WeightFile& file, const std::string& name,
                                           int joints) {
  const std::string path = file.path().string();
  check(!cx.device.is_cuda(),
        "{}: holds weights of 8 bits, which run on the CPU only; use `device` cpu, or the float32 weights that they "
        "were made from",
        path);
  check(cx.precision == DType::f32,
        "{}: holds weights of 8 bits, which always compute with 8-bit integers; bf16 is not possible with them", path);
  const ModelGuess guess = guess_model(file);
  check(guess.model == name && guess.joints == joints, "{}: this is {}; you asked for {} with {} joints", path,
        guess.what, name, joints);
  // The graph follows from the network alone. Its parameters are not needed after this, so their memory is temporary.
  bool bgr = false;
  Int8Graph graph;
  {
    Context temporary;
    const std::unique_ptr<PoseModel> model = make_model(temporary, name, joints, 0, Init::none, Purpose::inference);
    bgr = model->bgr_input();
    graph = int8_graph(*model);
  }
  const Reader reader(file);
  Int8Parameters p;
  for (const Node& node : graph.nodes) {
    if (node.kind == Kind::conv) p.convs[node.name] = read_conv(reader, node);
    if (node.kind == Kind::stem || node.kind == Kind::head) p.floats[node.name] = read_float(reader, node);
  }
  for (const Int8Graph::Value& v : graph.values) {
    if (v.bytes) p.ranges[v.range] = reader.floats(v.range + ".range", {1})[0];
  }
  try {
    return make_int8_model(name, joints, bgr, std::move(graph), p);
  } catch (const Error& e) {
    fail("{}: {}", path, e.what());
  }
}

}  // namespace hr
