#include "core/io/value.h"

#include "core/error.h"
#include "core/io/text.h"

namespace hr {

const Value* Value::find(std::string_view key) const {
  const Dict* dict = as<Dict>();
  if (dict == nullptr) return nullptr;
  for (size_t i = dict->items.size(); i-- > 0;) {
    const auto* name = dict->items[i].first->as<std::string>();
    if (name != nullptr && *name == key) return dict->items[i].second.get();
  }
  return nullptr;
}

std::string describe(const Value& value) {
  if (const auto* object = value.as<Value::Object>()) {
    if (object->name == "int" || object->name == "bytes") return object->name;
    if (object->arguments.empty() && object->state == nullptr) return shown(object->name);
    return "the result of " + shown(object->name);
  }
  constexpr const char* names[] = {"None",    "a bool", "an int", "a float",  "a string",
                                   "a tuple", "a list", "a dict", "a tensor", "an object"};
  return names[value.data.index()];
}

}  // namespace hr
