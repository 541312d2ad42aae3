// Collects the nodes and tensors of an ONNX graph while it is being written. Values have the layout [N, C, H, W] there.
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
  // If half is set, weight() stores float16, which a Cast node converts to float32 when the graph runs.
  explicit OnnxBuilder(bool half) : half_(half) {}
  OnnxBuilder(const OnnxBuilder&) = delete;
  OnnxBuilder& operator=(const OnnxBuilder&) = delete;

  // Appends a node with one output and returns the name of its value. `layer` is the name of the node; if it is empty,
  // the node gets a name such as "Relu_3".
  std::string node(const std::string& op, std::vector<std::string> inputs, std::vector<OnnxAttribute> attributes = {},
                   std::string_view layer = {});

  // These functions add a tensor and return its name. The builder owns the numbers and must outlive the use of its
  // model.
  std::string floats(const std::string& name, Shape shape, std::vector<float> numbers);
  std::string bytes(const std::string& name, Shape shape, std::vector<int8_t> numbers);
  std::string bytes(const std::string& name, Shape shape, std::vector<uint8_t> numbers);
  std::string ints(const std::string& name, Shape shape, std::vector<int32_t> numbers);
  // Adds the filter of a convolution, as float16 if `half` is set. Throws Error if a number is too large for float16.
  std::string weight(const std::string& name, Shape shape, std::vector<float> numbers);
  // Equal constants share one tensor: constant({1, 2}) is always "ints_1_2".
  std::string constant(std::initializer_list<int64_t> list);
  std::string scalar(float number);
  std::string scalar(int64_t number);

  // Renames a value wherever it occurs.
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
  std::deque<std::vector<int32_t>> short_ints_;
  std::deque<std::vector<int8_t>> bytes_;
  std::deque<std::vector<uint8_t>> unsigned_bytes_;
};

// Returns the nearest float16. Ties round to even; magnitudes of 65520 and more give infinity.
uint16_t to_half(float value);

}  // namespace hr
