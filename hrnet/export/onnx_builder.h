// Nodes and tensors of an ONNX graph while it is being written. Values are [N, C, H, W] there.
#pragma once
#include <deque>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/onnx.h"
#include "core/tensor.h"

namespace hr {

class OnnxBuilder {
 public:
  // half: weight() stores float16, which a Cast turns into float32 when the graph runs.
  explicit OnnxBuilder(bool half) : half_(half) {}
  OnnxBuilder(const OnnxBuilder&) = delete;
  OnnxBuilder& operator=(const OnnxBuilder&) = delete;

  // Appends a node with one output and returns the name of its value. `layer` names it; empty: "Relu_3".
  std::string node(const std::string& op, std::vector<std::string> inputs, std::vector<OnnxAttribute> attributes = {},
                   std::string_view layer = {});

  // Tensors; the name of each is returned. The numbers are kept here.
  std::string floats(const std::string& name, Shape shape, std::vector<float> numbers);
  // The filter of a convolution: float16 if asked for. Throws Error if a number is too large for it.
  std::string weight(const std::string& name, Shape shape, std::vector<float> numbers);
  // The same numbers under one name are one tensor: constant({1, 2}) is "ints_1_2".
  std::string constant(std::initializer_list<int64_t> list);
  std::string scalar(float number);
  std::string scalar(int64_t number);

  // Gives a value another name, wherever it occurs.
  void rename(const std::string& value, const std::string& name);

  OnnxModel model;

 private:
  std::string add(const std::string& name, DType dtype, Shape shape, std::span<const std::byte> bytes);
  bool has_tensor(const std::string& name) const;

  bool half_;
  int count_ = 0;
  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<uint16_t>> halves_;
  std::deque<std::vector<int64_t>> ints_;
};

// The nearest float16, to even in a tie; infinite beyond 65520.
uint16_t to_half(float value);

}  // namespace hr
