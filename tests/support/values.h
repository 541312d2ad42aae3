// Writes pickled values as text, so that they are easy to compare: {"w": f32[2, 3], "n": (1, None)}.
#pragma once
#include <fmt/format.h>

#include <string>

#include "core/io/json.h"
#include "core/io/value.h"

namespace hr::test {

std::string text_of(const Value& value);

inline std::string text_of(const std::vector<ValuePtr>& items) {
  std::string out;
  for (const ValuePtr& item : items) out += (out.empty() ? "" : ", ") + text_of(*item);
  return out;
}

inline std::string text_of(const Value& value) {
  if (value.as<Value::None>() != nullptr) return "None";
  if (const auto* v = value.as<bool>()) return *v ? "True" : "False";
  if (const auto* v = value.as<int64_t>()) return std::to_string(*v);
  if (const auto* v = value.as<double>()) return fmt::format("{:#}", *v);
  if (const auto* v = value.as<std::string>()) return json_quote(*v);
  if (const auto* v = value.as<Value::Tuple>()) return "(" + text_of(v->items) + ")";
  if (const auto* v = value.as<Value::List>()) return "[" + text_of(v->items) + "]";
  if (const auto* v = value.as<Value::Dict>()) {
    std::string out;
    for (const auto& [key, item] : v->items) {
      out += (out.empty() ? "" : ", ") + text_of(*key) + ": " + text_of(*item);
    }
    return "{" + out + "}";
  }
  if (const auto* v = value.as<ArrayView>()) {
    return fmt::format("{}[{}]", name_of(v->dtype), fmt::join(v->shape, ", "));
  }
  const auto& object = std::get<Value::Object>(value.data);
  std::string out = object.name;
  if (!object.arguments.empty()) out += "(" + text_of(object.arguments) + ")";
  if (object.state != nullptr) out += " with " + text_of(*object.state);
  return "<" + out + ">";
}

}  // namespace hr::test
