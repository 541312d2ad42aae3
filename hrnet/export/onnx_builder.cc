#include "hrnet/export/onnx_builder.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"

namespace hr {

uint16_t to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00);
  const double magnitude = std::abs(static_cast<double>(value));
  if (magnitude >= 65520) return static_cast<uint16_t>(sign | 0x7c00);
  // The magnitude is counted in units of the last place: 2^-24 for numbers below 2^-14, otherwise 2^-10 of the power of
  // two. nearbyint rounds ties to even; a carry into the next power of two increments the exponent bits by itself.
  const int exponent = std::max(std::ilogb(std::max(magnitude, 0x1p-24)), -14);
  const auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return static_cast<uint16_t>(sign | (static_cast<uint32_t>(exponent + 14) * 1024 + units));
}

std::string OnnxBuilder::node(const std::string& op, std::vector<std::string> inputs,
                              std::vector<OnnxAttribute> attributes, std::string_view layer) {
  const std::string name = layer.empty() ? fmt::format("{}_{}", op, count_++) : std::string(layer);
  std::string value = name + ".out";
  model.nodes.push_back({.op = op,
                         .name = name,
                         .inputs = std::move(inputs),
                         .outputs = {value},
                         .attributes = std::move(attributes),
                         .domain = {}});
  return value;
}

bool OnnxBuilder::has_tensor(const std::string& name) const {
  return std::any_of(model.tensors.begin(), model.tensors.end(), [&](const auto& t) { return t.name == name; });
}

std::string OnnxBuilder::add(const std::string& name, DType dtype, Shape shape, std::span<const std::byte> bytes) {
  model.tensors.push_back({name, dtype, std::move(shape), bytes});
  return name;
}

std::string OnnxBuilder::floats(const std::string& name, Shape shape, std::vector<float> numbers) {
  const auto& kept = floats_.emplace_back(std::move(numbers));
  return add(name, DType::f32, std::move(shape), std::as_bytes(std::span(kept)));
}

std::string OnnxBuilder::bytes(const std::string& name, Shape shape, std::vector<int8_t> numbers) {
  const auto& kept = bytes_.emplace_back(std::move(numbers));
  return add(name, DType::i8, std::move(shape), std::as_bytes(std::span(kept)));
}

std::string OnnxBuilder::bytes(const std::string& name, Shape shape, std::vector<uint8_t> numbers) {
  const auto& kept = unsigned_bytes_.emplace_back(std::move(numbers));
  return add(name, DType::u8, std::move(shape), std::as_bytes(std::span(kept)));
}

std::string OnnxBuilder::ints(const std::string& name, Shape shape, std::vector<int32_t> numbers) {
  const auto& kept = short_ints_.emplace_back(std::move(numbers));
  return add(name, DType::i32, std::move(shape), std::as_bytes(std::span(kept)));
}

std::string OnnxBuilder::weight(const std::string& name, Shape shape, std::vector<float> numbers) {
  if (!half_) return floats(name, std::move(shape), std::move(numbers));
  auto& kept = halves_.emplace_back();
  kept.reserve(numbers.size());
  for (const float v : numbers) {
    kept.push_back(to_half(v));
    check((kept.back() & 0x7c00) != 0x7c00, "{}: holds {}, which float16 cannot; write float32 weights", name, v);
  }
  add(name, DType::f16, std::move(shape), std::as_bytes(std::span(kept)));
  constexpr int64_t to_float = 1;  // ONNX uses this number for float32.
  return node("Cast", {name}, {{"to", to_float}}, name);
}

std::string OnnxBuilder::constant(std::initializer_list<int64_t> list) {
  std::string name = fmt::format("ints_{}", fmt::join(list, "_"));
  if (has_tensor(name)) return name;
  const auto& kept = ints_.emplace_back(list);
  return add(name, DType::i64, {static_cast<int64_t>(kept.size())}, std::as_bytes(std::span(kept)));
}

std::string OnnxBuilder::scalar(float number) {
  std::string name = fmt::format("float_{}", number);
  if (has_tensor(name)) return name;
  return floats(name, {}, {number});
}

std::string OnnxBuilder::scalar(int64_t number) {
  std::string name = fmt::format("int_{}", number);
  if (has_tensor(name)) return name;
  const auto& kept = ints_.emplace_back(1, number);
  return add(name, DType::i64, {}, std::as_bytes(std::span(kept)));
}

void OnnxBuilder::rename(const std::string& value, const std::string& name) {
  for (OnnxNode& n : model.nodes) {
    for (auto* list : {&n.inputs, &n.outputs}) std::replace(list->begin(), list->end(), value, name);
  }
}

}  // namespace hr
