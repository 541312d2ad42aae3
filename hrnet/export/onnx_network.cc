#include "hrnet/export/onnx_network.h"

#include <array>
#include <cstring>

#include "core/error.h"
#include "core/io/json_write.h"
#include "hrnet/infer/person_detector.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/model/yolox.h"
#include "hrnet/version.h"
#include "nn/permute.h"

namespace hr {
namespace {

template <class T>
std::string json(const T& list) {
  std::string text;
  JsonWriter(text).value(list);
  return text;
}

std::string json_pairs(const std::vector<std::pair<int, int>>& pairs) {
  std::vector<std::array<int, 2>> list;
  for (const auto& [a, b] : pairs) list.push_back({a, b});
  return json(list);
}

// Adds what a program needs to convert pixels to inputs: (pixel * pixel_scale - mean) / std, channel by channel.
void add_normalisation(std::map<std::string, std::string>& metadata, bool normalised) {
  metadata["pixel_scale"] = normalised ? python_repr(1.0 / 255) : "1";
  metadata["mean"] = normalised ? "[0.485, 0.456, 0.406]" : "[0, 0, 0]";
  metadata["std"] = normalised ? "[0.229, 0.224, 0.225]" : "[1, 1, 1]";
}

void add_skeleton(std::map<std::string, std::string>& metadata, const WeightFile& file, const OnnxOptions& o,
                  int joints) {
  std::optional<Skeleton> skeleton;
  if (!o.keypoints_path.empty()) {
    skeleton = find_skeleton(o.keypoints_path);
    check_field(skeleton->joints() == joints, "keypoints_path", "{}: has {} joints, the network has {}",
                o.keypoints_path, skeleton->joints(), joints);
  } else {
    skeleton = carried_skeleton(file);
  }
  // Published files carry no skeleton, and COCO's is the default of this library.
  if (!skeleton && joints == coco_skeleton().joints()) skeleton = coco_skeleton();
  if (!skeleton) return;
  metadata["skeleton"] = skeleton_to_text(*skeleton);
  metadata["keypoints"] = json(skeleton->names);
  metadata["limbs"] = json_pairs(skeleton->limbs);
  metadata["flip_pairs"] = json_pairs(skeleton->flip_pairs);
  metadata["sigmas"] = json(skeleton->sigmas);
}

// Returns an entry of a model in PyTorch's order of dimensions.
std::vector<float> in_torch_order(const Parameter& p) {
  std::vector<float> numbers(static_cast<size_t>(p.value.numel()));
  std::vector<Piece> pieces;
  cut(p, 0, pieces);
  for (const Piece& piece : pieces)
    copy_to_torch(piece, p.value.data<float>(), reinterpret_cast<std::byte*>(numbers.data()));
  return numbers;
}

NetworkLayers layers_of(const std::shared_ptr<PoseModel>& model) {
  NetworkLayers layers;
  constexpr std::string_view ending = ".weight";
  for (const Parameter& p : model->parameters().parameters()) {
    if (!p.name.ends_with(ending)) continue;
    const std::string module = p.name.substr(0, p.name.size() - ending.size());
    if (p.layout == ParameterLayout::plain) {
      layers.norms.emplace(p.value.id(), module);
    } else {
      layers.filters[p.value.id()].modules = {module};
    }
  }
  layers.numbers = [model](const std::string& name) {
    for (const auto& e : model->parameters().entries()) {
      if (e.name() != name || e.counter != nullptr) continue;
      if (e.parameter != nullptr) return in_torch_order(*e.parameter);
      const auto* data = e.buffer->value.data<float>();
      return std::vector<float>(data, data + e.buffer->channels);
    }
    fail("{}: has no entry {}", model->name(), name);
  };
  return layers;
}

void choose_size(OnnxNetwork& net, const OnnxOptions& o, std::array<int, 2> otherwise) {
  const auto [h, w] = o.fixed_size.value_or(otherwise);
  check_field(h > 0 && w > 0 && h % 32 == 0 && w % 32 == 0 && h <= 4096 && w <= 4096, "fixed_size",
              "{} {}: expected multiples of 32 up to 4096", h, w);
  net.h = h;
  net.w = w;
}

// Sets what a file of 8-bit weights adds to a network.
void add_int8(OnnxNetwork& net, const WeightFile& file, const OnnxOptions& o) {
  check_field(!o.keep_bn, "keep_bn", "{} holds weights of 8 bits, into which batch norm is folded",
              file.path().string());
  check_field(!o.half, "half", "{} holds weights of 8 bits, which are smaller than those of float16",
              file.path().string());
  net.int8_file = std::make_shared<const Int8File>(file);
  net.int8 = std::make_shared<Int8Network>(net.int8_file->graph(), *net.int8_file);
  net.forward = [model = net.int8](Context& c, const Tensor& images) { return model->run(c, images); };
  net.metadata["precision"] = "int8";
}

OnnxNetwork pose_network(Context& cx, const WeightFile& file, const OnnxOptions& o) {
  const std::shared_ptr<PoseModel> model = load_model(cx, file, o.model, o.joints, o.color, Purpose::training);
  const WeightInfo info = weight_info(file, !o.fixed_size);
  OnnxNetwork net;
  net.name = model->name();
  choose_size(net, o, {info.input_h.value_or(256), info.input_w.value_or(192)});
  if (!is_int8(file)) net.layers = layers_of(model);
  net.forward = [model](Context& c, const Tensor& images) { return model->forward(c, images); };
  net.input = "input";
  net.output = "heatmaps";
  net.low = -2;
  net.high = 2;
  net.codec = parse_codec(o.codec.empty() ? info.codec.value_or("quarter") : o.codec);
  auto& m = net.metadata;
  m["task"] = "pose";
  m["joints"] = std::to_string(model->joints());
  m["color"] = model->bgr_input() ? "bgr" : "rgb";
  m["codec"] = codec_name(*net.codec);
  add_normalisation(m, true);
  add_skeleton(m, file, o, model->joints());
  if (is_int8(file)) add_int8(net, file, o);
  return net;
}

OnnxNetwork detector_network(Context& cx, const WeightFile& file, const YoloxInfo& info, const OnnxOptions& o) {
  for (const auto& [field, given] : {std::pair{"model", !o.model.empty()},
                                     {"joints", o.joints.has_value()},
                                     {"color", !o.color.empty()},
                                     {"keypoints_path", !o.keypoints_path.empty()},
                                     {"codec", !o.codec.empty()}}) {
    check_field(!given, field, "is for pose networks; {} is {}", file.path().string(), info.describe());
  }
  OnnxNetwork net;
  net.name = yolox_name(info.shape);
  choose_size(net, o, detector_input(info));
  if (is_int8(file)) {
    load_int8_detector(cx, file);  // Checks that the graph is that of this network.
  } else {
    const std::shared_ptr<Yolox> model = load_yolox(cx, file);
    for (const Yolox::Filter& f : model->filters())
      net.layers.filters[f.id] = {f.modules, f.norm, Yolox::kBatchNormEpsilon, f.over_blocks};
    net.layers.numbers = [&file](const std::string& name) { return file.at(name).to_f32(); };
    net.forward = [model](Context& c, const Tensor& images) { return model->forward(c, images); };
  }
  net.input = "images";
  net.output = "output";
  const bool plain = info.input() == YoloxInput::bgr_255;
  net.low = plain ? 0 : -2;
  net.high = plain ? 255 : 2;
  auto& m = net.metadata;
  m["task"] = "detection";
  m["color"] = plain ? "bgr" : "rgb";
  m["resize"] = "keep the ratio, top left, pad with 114";
  m["classes"] = std::to_string(info.shape.classes);
  if (info.shape.classes == 1 || info.shape.classes == 80) {
    std::vector<std::string> names;
    for (int i = 0; i < info.shape.classes; ++i) names.push_back(class_name(info.shape, i));
    m["names"] = json(names);
  }
  add_normalisation(m, !plain);
  if (is_int8(file)) add_int8(net, file, o);
  return net;
}

}  // namespace

OnnxNetwork onnx_network(Context& cx, const WeightFile& file, const OnnxOptions& o) {
  const std::optional<YoloxInfo> detector = yolox_info(file);
  OnnxNetwork net = detector ? detector_network(cx, file, *detector, o) : pose_network(cx, file, o);
  auto& m = net.metadata;
  m["model"] = net.name;
  m["input_h"] = std::to_string(net.h);
  m["input_w"] = std::to_string(net.w);
  m["layout"] = "NCHW";
  m["source"] = file.path().filename().string();
  m["source_sha256"] = file.sha256();
  m["hrnet.cpp"] = HRNET_VERSION;
  return net;
}

}  // namespace hr
