#include "nn/onnx_weights.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "core/io/text.h"

namespace hr {
namespace {

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

// Returns true for a generated name: "onnx::Conv_123", or "123" in files of older exporters.
bool without_name(std::string_view name) { return name.starts_with("onnx::") || all_digits(name); }

// Returns the module of a node: "/layer1/layer1.0/conv1/Conv" gives "layer1.0.conv1". A part that begins with the
// previous part replaces it. Returns an empty string if the node's name does not have this form.
std::string module_of(const OnnxNode& node) {
  std::string_view rest = node.name;
  if (!rest.starts_with('/') || rest.find('/', 1) == std::string_view::npos) return "";
  rest = rest.substr(1, rest.rfind('/') - 1);
  std::vector<std::string_view> parts;
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
    const bool repeats = !parts.empty() && part.starts_with(parts.back()) && part.size() > parts.back().size() &&
                         part[parts.back().size()] == '.';
    if (repeats) parts.pop_back();
    parts.push_back(part);
  }
  return fmt::format("{}", fmt::join(parts, "."));
}

// Returns the name of the batch norm that follows a convolution in the networks of this library, or an empty string if
// no batch norm follows it.
std::string batch_norm_after(std::string_view conv) {
  const size_t dot = conv.rfind('.');
  const std::string before(conv.substr(0, dot == std::string_view::npos ? 0 : dot + 1));
  const std::string_view last = conv.substr(before.size());
  if (before.ends_with("_preds.")) return "";  // These are YOLOX's output layers, which are lists of convolutions.
  if (last.starts_with("conv") && (last.size() == 4 || all_digits(last.substr(4))))
    return before + "bn" + std::string(last.substr(4));
  if (all_digits(last) && last.size() < 9) return before + std::to_string(std::stoi(std::string(last)) + 1);
  return "";
}

struct Found {
  std::string name;
  const NamedArray* array = nullptr;
};

class Collector {
 public:
  explicit Collector(const OnnxModel& model) {
    for (const NamedArray& tensor : model.tensors) tensors_.emplace(tensor.name, &tensor);
    for (const OnnxNode& node : model.nodes) {
      for (const std::string& output : node.outputs) producers_.emplace(output, &node);
    }
  }

  // Returns the tensor behind an input of a layer. The exporter may refer to a duplicate tensor through Identity, and
  // to a tensor of another element type through Cast.
  Found at(const OnnxNode& node, size_t input) {
    if (input >= node.inputs.size()) return {};
    const std::string* name = &node.inputs[input];
    const std::string* called = name;
    constexpr int kMostSteps = 4;
    for (int step = 0; step < kMostSteps; ++step) {
      if (const auto found = tensors_.find(*name); found != tensors_.end()) return {*called, found->second};
      const auto producer = producers_.find(*name);
      if (producer == producers_.end() || producer->second->inputs.size() != 1) break;
      const OnnxNode& from = *producer->second;
      if (from.op != "Identity" && from.op != "Cast") break;
      name = &from.inputs[0];
      if (from.op == "Cast") called = name;
    }
    return {};
  }

 private:
  std::unordered_map<std::string_view, const NamedArray*> tensors_;
  std::unordered_map<std::string_view, const OnnxNode*> producers_;
};

ArrayView view_of(const NamedArray& a) { return {.dtype = a.dtype, .shape = a.shape, .bytes = a.bytes}; }

}  // namespace

OnnxWeights::OnnxWeights(const OnnxFile& file) {
  const std::string where = file.path().string();
  Collector collector(file.model());
  std::unordered_set<std::string> names;
  const auto add = [&](const std::string& name, const ArrayView& array) {
    if (!names.insert(name).second) return false;
    entries.emplace_back(name, array);
    return true;
  };
  struct Folded {
    size_t at;               // This is the number of entries up to and including the convolution's weight.
    std::string conv, norm;  // These are the names of the modules.
    const NamedArray* bias;
  };
  std::vector<Folded> folded;
  bool yolox = false;
  for (const OnnxNode& node : file.model().nodes) {
    if (node.op == "BatchNormalization") {
      for (size_t i = 1; i < 5; ++i) {
        if (const Found found = collector.at(node, i); found.array != nullptr) add(found.name, view_of(*found.array));
      }
    }
    if (node.op != "Conv" && node.op != "ConvTranspose" && node.op != "Gemm") continue;
    Found weight = collector.at(node, 1);
    const Found bias = collector.at(node, 2);
    if (weight.array == nullptr) continue;
    if (without_name(weight.name)) {
      const std::string module = module_of(node);
      check(!module.empty(),
            "{}: its tensors have no names (the first is {}), so that nothing says which layer they belong to. Export "
            "the network again with training=torch.onnx.TrainingMode.PRESERVE, which keeps names and batch norms",
            where, shown(weight.name));
      weight.name = module + ".weight";
    }
    if (!add(weight.name, view_of(*weight.array)) || bias.array == nullptr) continue;
    constexpr std::string_view ending = ".weight";
    if (!weight.name.ends_with(ending)) {
      add(bias.name, view_of(*bias.array));
      continue;
    }
    const std::string module = weight.name.substr(0, weight.name.size() - ending.size());
    yolox = yolox || module.starts_with("backbone.backbone.");
    const std::string norm = node.op == "Gemm" ? "" : batch_norm_after(module);
    if (norm.empty()) {
      add(module + ".bias", view_of(*bias.array));
    } else {
      folded.push_back({entries.size(), module, norm, bias.array});
    }
  }
  // The loop runs from the end, so that the positions of earlier layers stay valid.
  const float variance = 1 - (yolox ? 1e-3F : 1e-5F);
  for (auto layer = folded.rbegin(); layer != folded.rend(); ++layer) {
    const auto place = entries.begin() + static_cast<ptrdiff_t>(layer->at);
    const ArrayView bias = view_of(*layer->bias);
    // This convolution has a bias of its own before an unfolded batch norm.
    if (!names.insert(layer->norm + ".weight").second) {
      if (names.insert(layer->conv + ".bias").second) entries.insert(place, {layer->conv + ".bias", bias});
      continue;
    }
    const auto constant = [&](const char* part, float value) {
      const auto& numbers = made_.emplace_back(static_cast<size_t>(bias.numel()), value);
      return std::pair{layer->norm + part, ArrayView{.shape = bias.shape, .bytes = std::as_bytes(std::span(numbers))}};
    };
    const std::initializer_list<std::pair<std::string, ArrayView>> made{constant(".weight", 1),
                                                                        {layer->norm + ".bias", bias},
                                                                        constant(".running_mean", 0),
                                                                        constant(".running_var", variance)};
    entries.insert(place, made);
  }
  check(!entries.empty(), "{}: an ONNX file without a convolution, so it holds no weights", where);
}

}  // namespace hr
