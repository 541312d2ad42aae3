// ONNX files contain a graph of nodes over named values, the tensors that the graph starts from, and metadata. This
// module reads and writes the part of the format that the networks of this project and PyTorch's exporter need. The
// reader skips everything else and lists the tensors that it skipped. It does not read graphs inside nodes (loops and
// conditions).
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
  struct Other {};  // The value has a type that is not read, such as a graph or a list of texts.
  std::string name;
  std::variant<Other, int64_t, float, std::string, std::vector<int64_t>, std::vector<float>, NamedArray> value;
};

struct OnnxNode {
  std::string op;  // The name of the operator, for example "Conv".
  std::string name;
  std::vector<std::string> inputs, outputs;  // An empty name stands for an optional input that is left out.
  std::vector<OnnxAttribute> attributes;
  std::string domain;  // An empty domain means the operators of the ONNX standard.

  // Returns the attribute's value, or null if the attribute is missing or has another type.
  template <class T>
  const T* find(std::string_view attribute) const {
    for (const OnnxAttribute& a : attributes) {
      if (a.name == attribute) return std::get_if<T>(&a.value);
    }
    return nullptr;
  }
};

// Describes an input or output of the graph.
struct OnnxValue {
  struct Dim {
    int64_t size = 0;    // The size applies if the dimension is fixed.
    std::string symbol;  // The symbol, such as "batch", names a dimension whose size is known only when the graph runs.
  };
  std::string name;
  DType dtype = DType::f32;
  std::vector<Dim> dims;
};

struct OnnxModel {
  int64_t ir_version = 8, opset = 17;  // This opset belongs to ONNX 1.12.
  std::string producer, producer_version, graph;
  std::vector<OnnxNode> nodes;  // Each node comes after the nodes whose outputs it reads.
  std::vector<NamedArray> tensors;
  std::vector<OnnxValue> inputs, outputs;
  std::map<std::string, std::string> metadata;
};

class OnnxFile {
 public:
  // Maps the file into memory. Throws Error if the file is malformed (the message says where), if a tensor does not fit
  // its data, or if its tensors are stored in other files. Names, nodes and lists of numbers use at most 40 MiB of
  // memory; tensors are views of the mapped file.
  explicit OnnxFile(const fs::path& path);
  // Reads a file that is already in memory. `bytes` must outlive this object; `name` is used in messages.
  OnnxFile(std::span<const std::byte> bytes, const fs::path& name);

  const OnnxModel& model() const { return model_; }
  // Returns the names of the tensors whose element types this library does not support (texts, complex numbers, uint16,
  // ...). The model does not contain these tensors.
  const std::vector<std::string>& skipped() const { return skipped_; }
  const fs::path& path() const { return path_; }
  // Declares that a tensor is not needed for now (MappedFile::release).
  void release(const ArrayView& tensor) const { file_.release(tensor.bytes); }

 private:
  struct Parser;
  void load(std::span<const std::byte> bytes);
  MappedFile file_;
  fs::path path_;
  OnnxModel model_;
  std::vector<std::string> skipped_;
  std::deque<std::vector<std::byte>> unpacked_;  // It holds the numbers of tensors that the file stores as varints.
};

// Returns true if a file that begins with `text` may be an ONNX file. `text` must hold at least the first nine bytes of
// the file.
bool looks_like_onnx(std::string_view text);

// Writes the model and streams its tensors. The file is written under a temporary name and renamed at the end. Equal
// models give equal files. Throws Error if the size of a tensor does not fit its shape, or if the model exceeds the 2
// GiB limit of a protobuf message.
void write_onnx(const fs::path& path, const OnnxModel& model, const WriteProgress& progress = {});

}  // namespace hr
