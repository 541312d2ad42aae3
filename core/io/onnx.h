// ONNX files: a graph of nodes over named values, the tensors that it starts from, and metadata. What is read and
// written is the part of the format that networks of this house and of PyTorch's exporter need; reading keeps the rest
// out and says so. Graphs inside of nodes (loops, conditions) are not read.
#pragma once
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/io/safetensors.h"

namespace hr {

struct OnnxAttribute {
  struct Other {};  // A graph, a list of texts, ...: not read.
  std::string name;
  std::variant<Other, int64_t, float, std::string, std::vector<int64_t>, std::vector<float>, NamedArray> value;
};

struct OnnxNode {
  std::string op;  // "Conv"
  std::string name;
  std::vector<std::string> inputs, outputs;  // An empty name stands for an optional input that is left out.
  std::vector<OnnxAttribute> attributes;
  std::string domain;  // Empty: the standard's ops.

  // The attribute's value; null if it is missing or of another type.
  template <class T>
  const T* find(std::string_view attribute) const {
    for (const OnnxAttribute& a : attributes) {
      if (a.name == attribute) return std::get_if<T>(&a.value);
    }
    return nullptr;
  }
};

// An input or output of the graph.
struct OnnxValue {
  struct Dim {
    int64_t size = 0;    // Of a fixed dimension.
    std::string symbol;  // Of one that is known when the graph runs: "batch".
  };
  std::string name;
  DType dtype = DType::f32;
  std::vector<Dim> dims;
};

struct OnnxModel {
  int64_t ir_version = 8, opset = 17;  // ONNX 1.12
  std::string producer, producer_version, graph;
  std::vector<OnnxNode> nodes;  // Each after those that it needs.
  std::vector<NamedArray> tensors;
  std::vector<OnnxValue> inputs, outputs;
  std::map<std::string, std::string> metadata;
};

class OnnxFile {
 public:
  // Throws Error that says where the file is malformed, which tensor does not fit its data, or that its tensors lie in
  // other files. At most 40 MiB of memory are used for names, nodes and lists of numbers; tensors are views of the map.
  explicit OnnxFile(const fs::path& path);
  // Reads a file in memory. `bytes` must outlive this object; `name` is used in messages.
  OnnxFile(std::span<const std::byte> bytes, const fs::path& name);

  const OnnxModel& model() const { return model_; }
  // Tensors of element types that this house lacks (texts, complex numbers, uint16, ...), which the model has not got.
  const std::vector<std::string>& skipped() const { return skipped_; }
  const fs::path& path() const { return path_; }

 private:
  struct Parser;
  void load(std::span<const std::byte> bytes);
  MappedFile file_;
  fs::path path_;
  OnnxModel model_;
  std::vector<std::string> skipped_;
  std::deque<std::vector<std::byte>> unpacked_;  // Numbers of tensors that the file has as varints.
};

// True if a file that begins like this may be ONNX. `text` has at least its first nine bytes.
bool looks_like_onnx(std::string_view text);

// Writes the model; tensors are streamed. The file appears in one step. Equal models make equal files. Throws Error for
// a size that does not fit its shape and for more than the 2 GiB that a protobuf message can have.
void write_onnx(const fs::path& path, const OnnxModel& model, const WriteProgress& progress = {});

}  // namespace hr
