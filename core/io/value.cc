#include "core/io/value.h"

#include <unordered_map>

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

std::vector<NamedView> named_tensors(const Value& dict, std::string_view where) {
  const auto* entries = dict.as<Value::Dict>();
  if (entries == nullptr) fail("{}: expected a dict of tensors, found {}", where, describe(dict));
  std::vector<NamedView> tensors;
  std::unordered_map<std::string_view, size_t> place;
  for (const auto& [key, value] : entries->items) {
    const auto* name = key->as<std::string>();
    if (name == nullptr) fail("{}: expected a dict from names to tensors, but a key is {}", where, describe(*key));
    const auto* array = value->as<ArrayView>();
    if (array == nullptr) fail("{}: {}: expected a tensor, found {}", where, shown(*name), describe(*value));
    const auto [it, fresh] = place.emplace(*name, tensors.size());
    if (fresh) {
      tensors.push_back({*name, array});
    } else {
      tensors[it->second].array = array;
    }
  }
  return tensors;
}

}  // namespace hr
