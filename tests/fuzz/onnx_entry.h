// Fuzzing of the ONNX reader: the function under test, small files to start from, and mutations that keep the lengths
// of nested messages correct.
#pragma once
#include <unistd.h>

#include <array>
#include <map>

#include "core/io/protobuf.h"
#include "nn/onnx_weights.h"
#include "tests/fuzz/entry.h"

namespace hr::test {

inline Outcome open_onnx(std::span<const std::byte> bytes) {
  const Stopwatch stopwatch;
  try {
    const OnnxFile file(bytes, "fuzzed");
    for (const NamedArray& a : file.model().tensors) {
      require(a.bytes.empty() || a.dtype != DType::f32 ||
                  (a.bytes.data() >= bytes.data() && a.bytes.data() + a.bytes.size() <= bytes.data() + bytes.size()),
              "a tensor outside of the file");
      touch({.dtype = a.dtype, .shape = a.shape, .bytes = a.bytes});
    }
    try {
      const OnnxWeights weights(file);
      size_t budget = size_t{4} << 20;
      for (const auto& [name, array] : weights.entries) {
        const size_t seen = touch(array);
        budget -= std::min(budget, seen);
        if (budget == 0) break;
      }
    } catch (const Error& e) {
      require_clear(e);
    }
    return Outcome::loaded;
  } catch (const Error& e) {
    require_clear(e);
    return Outcome::refused;
  }
}

inline std::string written(const OnnxModel& model) {
  const fs::path path = fs::temp_directory_path() / fmt::format("hrnet_seed_{}.onnx", static_cast<int>(::getpid()));
  write_onnx(path, model);
  std::string bytes = read_file(path);
  fs::remove(path);
  return bytes;
}

inline std::map<std::string, std::string> onnx_seeds() {
  static const std::array<float, 12> numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  const auto floats = std::as_bytes(std::span(numbers));
  const auto tensor = [&](const char* name, std::vector<int64_t> shape, DType dtype = DType::f32) {
    size_t size = size_of(dtype);
    for (const int64_t d : shape) size *= static_cast<size_t>(d);
    return NamedArray{name, dtype, std::move(shape), floats.first(size)};
  };
  const auto node = [](const char* op, const char* name, std::vector<std::string> inputs, const char* output) {
    return OnnxNode{.op = op,
                    .name = name,
                    .inputs = std::move(inputs),
                    .outputs = {output},
                    .attributes = {{"pads", std::vector<int64_t>{1, 1, 1, 1}},
                                   {"epsilon", 1e-5F},
                                   {"mode", std::string("nearest")},
                                   {"group", int64_t{-1}},
                                   {"floats", std::vector<float>{1, 2}}},
                    .domain = {}};
  };
  std::map<std::string, std::string> seeds;
  OnnxModel m;
  m.producer = "hrnet.cpp";
  m.producer_version = "1";
  m.graph = "net";
  m.metadata = {{"task", "pose"}, {"joints", "3"}};
  m.inputs = {{"input", DType::f32, {{.symbol = "batch"}, {3}, {64}, {64}}}};
  m.outputs = {{"heatmaps", DType::f32, {{.symbol = "batch"}, {3}}}};
  m.nodes = {
      node("Conv", "conv1", {"input", "conv1.weight"}, "a"),
      node("BatchNormalization", "bn1", {"a", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"}, "b"),
      node("Conv", "final_layer", {"b", "final_layer.weight", "final_layer.bias"}, "heatmaps")};
  m.tensors = {tensor("conv1.weight", {2, 3, 1, 1}),
               tensor("bn1.weight", {2}),
               tensor("bn1.bias", {2}),
               tensor("bn1.running_mean", {2}),
               tensor("bn1.running_var", {2}),
               tensor("final_layer.weight", {3, 2, 1, 1}),
               tensor("final_layer.bias", {3}),
               tensor("scale", {}),
               tensor("none", {0, 3}, DType::f64),
               tensor("whole", {2}, DType::i64)};
  seeds["batch_norm"] = written(m);
  m.nodes = {node("Identity", "i", {"first.bias"}, "onnx::Conv_9"), node("Cast", "c", {"half"}, "half.out"),
             node("Conv", "/layer1/layer1.0/conv1/Conv", {"input", "onnx::Conv_7", "onnx::Conv_9"}, "a"),
             node("ConvTranspose", "x", {"a", "backbone.backbone.stem.conv.conv.weight", "first.bias"}, "b"),
             node("Conv", "y", {"b", "half.out"}, "heatmaps")};
  m.tensors = {tensor("onnx::Conv_7", {2, 3, 1, 1}), tensor("first.bias", {2}),
               tensor("backbone.backbone.stem.conv.conv.weight", {2, 2, 1, 1}),
               tensor("half", {3, 2, 1, 1}, DType::f16)};
  seeds["folded"] = written(m);
  // These fields hold numbers as varints and as packed floats, as small constants are stored in PyTorch's files.
  std::string tensors, graph, model;
  for (const auto& [field, type] : {std::pair<uint32_t, int64_t>{7, 7}, {5, 10}, {4, 1}}) {
    std::string t;
    ProtoWriter w(t);
    w.integer(1, 2);
    w.integer(2, type);
    w.bytes(8, std::string(1, static_cast<char>('a' + field)));
    field == 4 ? w.bytes(4, std::string(8, '\x3f')) : w.integers(field, std::array<int64_t, 2>{-1, 300});
    ProtoWriter(tensors).bytes(5, t);
  }
  ProtoWriter(graph).bytes(2, "typed");
  graph += tensors;
  ProtoWriter(model).integer(1, 8);
  ProtoWriter(model).bytes(7, graph);
  seeds["typed"] = model;
  return seeds;
}

// Mutates one message that is nested somewhere in `message`: calls change(text) for its bytes and then corrects the
// lengths of all messages that contain it. below(n) draws a random number below n.
template <class Below, class Change>
std::string mutate_message(const std::string& message, int depth, const Below& below, const Change& change) {
  struct Field {
    size_t begin, end;  // of the value, without tag and length
    uint32_t number;
  };
  std::vector<Field> fields;
  try {
    const std::string name = "mutated";
    const auto bytes = std::as_bytes(std::span(message));
    for (ProtoReader r(bytes, name); r.next();) {
      if (!r.packed()) continue;
      const auto value = r.bytes();
      const auto begin = static_cast<size_t>(value.data() - bytes.data());
      fields.push_back({begin, begin + value.size(), r.field()});
    }
  } catch (const Error&) {
    return change(message);
  }
  if (fields.empty() || depth == 0 || below(5) == 0) return change(message);
  const Field& f = fields[below(fields.size())];
  std::string length, header;
  ProtoWriter(length).header(f.number, f.end - f.begin);
  const std::string inner = mutate_message(message.substr(f.begin, f.end - f.begin), depth - 1, below, change);
  ProtoWriter(header).header(f.number, inner.size());
  if (f.begin < length.size()) return change(message);  // the tag or length is not in its shortest form
  return message.substr(0, f.begin - length.size()) + header + inner + message.substr(f.end);
}

}  // namespace hr::test
