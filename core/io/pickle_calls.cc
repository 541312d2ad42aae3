#include "core/io/pickle_calls.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

namespace hr::pickling {
namespace {

struct StorageType {
  std::string_view name;
  std::optional<DType> dtype;
  uint64_t element_size;
};
constexpr StorageType kStorageTypes[] = {
    {"FloatStorage", DType::f32, 4},
    {"DoubleStorage", DType::f64, 8},
    {"HalfStorage", DType::f16, 2},
    {"BFloat16Storage", DType::bf16, 2},
    {"LongStorage", DType::i64, 8},
    {"IntStorage", DType::i32, 4},
    {"ShortStorage", DType::i16, 2},
    {"CharStorage", DType::i8, 1},
    {"ByteStorage", DType::u8, 1},
    {"BoolStorage", DType::boolean, 1},
    {"UntypedStorage", std::nullopt, 1},
    {"_UntypedStorage", std::nullopt, 1},
    {"ComplexFloatStorage", std::nullopt, 8},
    {"ComplexDoubleStorage", std::nullopt, 16},
    {"QInt8Storage", std::nullopt, 1},
    {"QUInt8Storage", std::nullopt, 1},
    {"QInt32Storage", std::nullopt, 4},
    {"QUInt4x2Storage", std::nullopt, 1},
    {"QUInt2x4Storage", std::nullopt, 1},
};

// The names of torch's element types, including aliases, as _rebuild_tensor_v3 receives them.
constexpr struct {
  std::string_view name;
  DType dtype;
} kDTypes[] = {{"float32", DType::f32}, {"float", DType::f32}, {"float64", DType::f64},   {"double", DType::f64},
               {"float16", DType::f16}, {"half", DType::f16},  {"bfloat16", DType::bf16}, {"int64", DType::i64},
               {"long", DType::i64},    {"int32", DType::i32}, {"int", DType::i32},       {"int16", DType::i16},
               {"short", DType::i16},   {"int8", DType::i8},   {"uint8", DType::u8},      {"bool", DType::boolean}};

constexpr size_t kMaxRank = 64;  // torch has the same limit.

template <class T>
T from_bytes(std::string_view bytes) {
  T v;
  std::memcpy(&v, bytes.data(), sizeof v);
  return v;
}

}  // namespace

// ---- filling ----

void Calls::append(Id target, std::span<const Id> added) {
  if (is(target, Kind::list)) return extend(target, added);
  if (!is(target, Kind::object)) refuse("appends to {}", name_of_kind(target));
  budget_.take(added.size() * 3 * sizeof(Id));
  auto& arguments = objects_[node(target).index].arguments;
  arguments.insert(arguments.end(), added.begin(), added.end());
}

void Calls::set_items(Id target, std::span<const Id> pairs) {
  if (pairs.size() % 2 != 0) refuse("a key without a value");
  if (is(target, Kind::dict)) return extend(target, pairs);
  if (!is(target, Kind::object)) refuse("sets items of {}", name_of_kind(target));
  for (size_t i = 0; i < pairs.size(); i += 2) {
    const Id pair = add_tuple(pairs.subspan(i, 2));
    append(target, std::span(&pair, 1));
  }
}

void Calls::build(Id target, Id state) {
  // The state is (attributes, slots), which is how Python 3 writes objects with slots.
  const bool pair = is(state, Kind::tuple) && items(state).size() == 2;
  const bool attributes = is(state, Kind::dict) || is(state, Kind::none) || pair;
  switch (node(target).kind) {
    case Kind::object:
      objects_[node(target).index].state = state;
      return;
    case Kind::dict:
      if (node(target).dict == DictKind::literal || !attributes) {
        refuse("sets the state of a dict from {}", name_of_kind(state));
      }
      if (node(target).dict == DictKind::name_space && is(state, Kind::dict)) {
        extend(target, copy_items(state));
      }
      return;  // Other attributes of a dict (torch's _metadata) are not needed.
    case Kind::tensor:
      if (!attributes) refuse("sets the state of a tensor from {}", name_of_kind(state));
      return;
    default:
      refuse("sets the state of {}", name_of_kind(target));
  }
}

// ---- calling ----

Id Calls::note_call(Id callee, std::span<const Id> arguments) {
  if (is(callee, Kind::global)) return add_object(callee, arguments);
  if (is(callee, Kind::object)) return add_object(objects_[node(callee).index].global, arguments, true);
  refuse("calls {}", name_of_kind(callee));
}

Id Calls::call(Id callee, const std::vector<Id>& arguments) {
  if (!is(callee, Kind::global)) return note_call(callee, arguments);
  const Global g = global(callee);
  const size_t n = arguments.size();
  if (g.module == "torch._utils") {
    if (g.name == "_rebuild_tensor") return tensor(callee, arguments, 4, 4);
    if (g.name == "_rebuild_tensor_v2") return tensor(callee, arguments, 6, 7);
    if (g.name == "_rebuild_tensor_v3") return tensor(callee, arguments, 7, 8);
    if (g.name == "_rebuild_parameter" || g.name == "_rebuild_parameter_with_state") {
      if (n < 3 || n > 4 || (!is(arguments[0], Kind::tensor) && !is(arguments[0], Kind::object))) {
        refuse("{} of {} arguments that start with {}", full_name(callee), n,
               n == 0 ? "nothing" : name_of_kind(arguments[0]));
      }
      return arguments[0];
    }
  }
  if (g.is("torch._tensor", "_rebuild_from_type_v2") && n == 4 && is(arguments[0], Kind::global) &&
      global(arguments[0]).module == "torch._utils" && is(arguments[2], Kind::tuple)) {
    // The arguments are func, type, the arguments of func, and attributes.
    return call(arguments[0], copy_items(arguments[2]));
  }
  const bool ordered = g.is("collections", "OrderedDict"), counter = g.is("collections", "Counter");
  if ((g.is("builtins", "set") || g.is("builtins", "frozenset")) && n == 1 && is(arguments[0], Kind::list)) {
    return add_object(callee, copy_items(arguments[0]));
  }
  if (ordered || counter || g.is("builtins", "dict")) {
    if (n == 0) return add_list(Kind::dict, {}, DictKind::constructed);
    if (n == 1 && is(arguments[0], Kind::dict)) {
      return add_list(Kind::dict, copy_items(arguments[0]), DictKind::constructed);
    }
    if (n == 1 && (is(arguments[0], Kind::list) || is(arguments[0], Kind::tuple))) return dict_of_pairs(arguments[0]);
  }
  if (g.is("collections", "defaultdict") && n <= 1) return add_list(Kind::dict, {}, DictKind::constructed);
  if (g.is("argparse", "Namespace") && n == 0) return add_list(Kind::dict, {}, DictKind::name_space);
  if (g.is("torch", "Size") && n == 1 && is(arguments[0], Kind::tuple)) return arguments[0];
  if (g.is("_codecs", "encode") && n == 2 && is(arguments[0], Kind::text) && is(arguments[1], Kind::text)) {
    const std::string_view encoding = text(arguments[1]);
    if (encoding == "latin1" || encoding == "latin-1") return latin1(text(arguments[0]));
  }
  if (g.name == "scalar" && (g.module == "numpy.core.multiarray" || g.module == "numpy._core.multiarray") && n == 2) {
    const Id scalar = numpy_scalar(arguments[0], arguments[1]);
    if (scalar != kNobody) return scalar;
  }
  return note_call(callee, arguments);
}

Id Calls::dict_of_pairs(Id pairs) {
  std::vector<Id> entries;
  for (const Id pair : items(pairs)) {
    if ((!is(pair, Kind::tuple) && !is(pair, Kind::list)) || items(pair).size() != 2) {
      refuse("a dict made of {}, expected pairs", name_of_kind(pair));
    }
    entries.insert(entries.end(), items(pair).begin(), items(pair).end());
  }
  return add_list(Kind::dict, entries, DictKind::constructed);
}

// Protocol 2 writes bytes as text of the characters U+0000 to U+00FF.
Id Calls::latin1(std::string_view utf8) {
  std::string out;
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<uint8_t>(utf8[i]);
    if (c >= 0xc4) refuse("{} does not fit into Latin-1", shown(utf8));
    out += c < 0x80 ? utf8[i] : static_cast<char>((c & 3) << 6 | (utf8[++i] & 63));
  }
  return add_string(Kind::bytes, keep(std::move(out)));
}

// For numpy.dtype("f8", …) with the byte order in its state, returns the kind and the size. Only little-endian is
// known.
std::string_view Calls::numpy_type(Id id) const {
  if (!is(id, Kind::object)) return {};
  const Object& object = objects_[node(id).index];
  if (object.indirect || !global(object.global).is("numpy", "dtype") || object.arguments.empty() ||
      !is(object.arguments[0], Kind::text)) {
    return {};
  }
  std::string_view type = text(object.arguments[0]);
  if (type.starts_with('<') || type.starts_with('|')) type.remove_prefix(1);
  if (object.state != kNobody && is(object.state, Kind::tuple) && items(object.state).size() > 1) {
    const Id order = items(object.state)[1];
    if (is(order, Kind::text) && text(order) == ">") return {};
  }
  return type;
}

Id Calls::numpy_scalar(Id type_id, Id bytes_id) {
  const std::string_view type = numpy_type(type_id);
  if (type.size() != 2 || (!is(bytes_id, Kind::bytes) && !is(bytes_id, Kind::text))) return kNobody;
  const std::string_view bytes = text(bytes_id);
  if (bytes.size() != static_cast<size_t>(type[1] - '0')) return kNobody;
  if (type == "f8") return add_real(from_bytes<double>(bytes));
  if (type == "f4") return add_real(from_bytes<float>(bytes));
  if (type == "i8") return add_integer(from_bytes<int64_t>(bytes));
  if (type == "i4") return add_integer(from_bytes<int32_t>(bytes));
  if (type == "i2") return add_integer(from_bytes<int16_t>(bytes));
  if (type == "i1") return add_integer(from_bytes<int8_t>(bytes));
  if (type == "u4") return add_integer(from_bytes<uint32_t>(bytes));
  if (type == "u2") return add_integer(from_bytes<uint16_t>(bytes));
  if (type == "u1") return add_integer(from_bytes<uint8_t>(bytes));
  if (type == "b1") return add(Kind::boolean, bytes[0] != 0);
  return kNobody;
}

// ---- storages and tensors ----

uint64_t Calls::count_of(Id id, const char* what) const {
  if (!is(id, Kind::integer) || node(id).integer < 0) {
    if (is(id, Kind::integer)) refuse("{} is {}, expected 0 or more", what, node(id).integer);
    refuse("{} is {}, expected an int", what, name_of_kind(id));
  }
  return static_cast<uint64_t>(node(id).integer);
}

// Returns the storage of a persistent id ("storage", type, key, location, number of elements[, part of another
// storage]). The location says where the tensor was ("cuda:0") and is ignored.
Id Calls::storage_of(Id persistent) {
  if (!is(persistent, Kind::tuple)) refuse("a persistent id is {}, expected a tuple", name_of_kind(persistent));
  const std::vector<Id> id = copy_items(persistent);
  // ("module", class, source) occurs in a legacy stream that holds a whole model. The class is recorded, the source is
  // ignored.
  if (id.size() == 4 && is(id[0], Kind::text) && text(id[0]) == "module" && is(id[1], Kind::global)) return id[1];
  if (id.size() < 5 || id.size() > 6 || !is(id[0], Kind::text) || text(id[0]) != "storage" ||
      !is(id[1], Kind::global) || !is(id[2], Kind::text)) {
    refuse("a persistent id of {} items, expected (\"storage\", type, key, location, size)", id.size());
  }
  if (text(id[2]).size() > 256) refuse("a storage's key of {} bytes", text(id[2]).size());
  const Global type = global(id[1]);
  const auto* known = std::find_if(std::begin(kStorageTypes), std::end(kStorageTypes),
                                   [&](const StorageType& t) { return t.name == type.name; });
  if (known == std::end(kStorageTypes) ||
      (type.module != "torch" && type.module != "torch.cuda" && type.module != "torch.storage")) {
    refuse("storage {} has the unknown type {}", shown(text(id[2])), shown(full_name(id[1])));
  }
  PickledStorage found{.key = std::string(text(id[2])),
                       .type = full_name(id[1]),
                       .dtype = known->dtype,
                       .count = count_of(id[4], "a storage's size"),
                       .element_size = known->element_size};
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(found.count, found.element_size, &bytes) || bytes > INT64_MAX) {
    refuse("storage {} of {} elements", shown(found.key), found.count);
  }
  StorageView view{.offset = 0, .count = found.count};
  // Before torch 0.4 a part of another storage was (key of the part, offset, size).
  if (id.size() == 6 && !is(id[5], Kind::none)) {
    const std::vector<Id> part = is(id[5], Kind::tuple) ? copy_items(id[5]) : std::vector<Id>{};
    if (part.size() != 3) refuse("a part of storage {} is not described by three values", shown(found.key));
    view.offset = count_of(part[1], "the start of a storage's part");
    view.count = count_of(part[2], "the size of a storage's part");
    if (view.offset > found.count || view.count > found.count - view.offset) {
      refuse("a part of storage {} reaches past its end", shown(found.key));
    }
  }
  const auto [it, fresh] = storage_number_.emplace(found.key, static_cast<uint32_t>(storages_.size()));
  view.storage = it->second;
  if (fresh) {
    budget_.take(2 * sizeof(PickledStorage) + 4 * found.key.size() + 64);
    storages_.push_back(std::move(found));
  } else if (const PickledStorage& first = storages_[it->second];
             first.type != found.type || first.count != found.count) {
    refuse("storage {} has {} elements of {} here and {} of {} before", shown(found.key), found.count, found.type,
           first.count, first.type);
  }
  budget_.take(sizeof(StorageView));
  storage_views_.push_back(view);
  return add(Kind::storage, storage_views_.size() - 1);
}

std::vector<int64_t> Calls::counts(Id id, const char* what) const {
  if (!is(id, Kind::tuple) && !is(id, Kind::list)) {
    refuse("a tensor's {} is {}, expected a tuple", what, name_of_kind(id));
  }
  const auto list = items(id);
  if (list.size() > kMaxRank) refuse("a tensor of {} dims, at most {} can be read", list.size(), kMaxRank);
  std::vector<int64_t> out;
  for (const Id item : list) {
    if (!is(item, Kind::integer) || node(item).integer < 0) {
      if (is(item, Kind::integer)) refuse("a tensor's {} has {}, expected 0 or more", what, node(item).integer);
      refuse("a tensor's {} has {}, expected ints", what, name_of_kind(item));
    }
    out.push_back(node(item).integer);
  }
  return out;
}

// The arguments are (storage, offset, size, stride[, requires_grad, hooks[, dtype if v3][, metadata]]). Returns a
// tensor node, or a recorded call if DType lacks the type.
Id Calls::tensor(Id callee, const std::vector<Id>& arguments, size_t fewest, size_t most) {
  if (arguments.size() < fewest || arguments.size() > most) {
    refuse("{} with {} arguments, expected {} to {}", full_name(callee), arguments.size(), fewest, most);
  }
  if (!is(arguments[0], Kind::storage)) {
    refuse("a tensor on {}, expected a storage", name_of_kind(arguments[0]));
  }
  const StorageView view = storage_views_[node(arguments[0]).index];
  const PickledStorage& whole = storages_[view.storage];
  std::optional<DType> dtype = whole.dtype;
  if (fewest == 7) {
    if (!is(arguments[6], Kind::global)) refuse("a tensor of dtype {}", name_of_kind(arguments[6]));
    const Global named = global(arguments[6]);
    const auto* known =
        std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](auto& t) { return t.name == named.name; });
    dtype.reset();
    if (known != std::end(kDTypes) && named.module == "torch") dtype = known->dtype;
  }
  if (!dtype) return note_call(callee, arguments);

  Tensor t{.storage = view.storage, .dtype = *dtype};
  t.shape = counts(arguments[2], "size");
  t.stride = counts(arguments[3], "stride");
  if (t.shape.size() != t.stride.size()) {
    refuse("a tensor of {} dims and {} strides", t.shape.size(), t.stride.size());
  }
  const uint64_t offset = count_of(arguments[1], "a tensor's offset"), size = size_of(*dtype);
  const uint64_t available = view.count * whole.element_size / size;  // In elements.
  uint64_t numel = 1, dims = 1, last = offset;
  bool fits = true;
  for (size_t i = 0; i < t.shape.size(); ++i) {
    const auto extent = static_cast<uint64_t>(t.shape[i]), step = static_cast<uint64_t>(t.stride[i]);
    uint64_t reach = 0;
    numel *= extent;  // At most `dims`, which is checked not to wrap.
    fits = fits && !__builtin_mul_overflow(dims, std::max<uint64_t>(extent, 1), &dims) && dims <= INT64_MAX / 16;
    if (extent > 1) {
      fits = fits && !__builtin_mul_overflow(extent - 1, step, &reach) && !__builtin_add_overflow(last, reach, &last) &&
             last <= INT64_MAX / 16;
    }
    if (!fits) refuse("a tensor of {} from element {} on is larger than any memory", brackets(t.shape), offset);
  }
  if (numel == 0 ? offset > available : last >= available) {
    refuse("a tensor of {} with strides {} from element {} on leaves its storage of {} elements", brackets(t.shape),
           brackets(t.stride), offset, available);
  }
  // A view with repeated elements (stride 0) could have any size when it is copied to dense memory. No model needs one
  // that is larger than its file.
  const uint64_t largest = std::max({view.count * whole.element_size, file_size_, kRepeated});
  if (numel * size > largest) {
    refuse("a tensor of {} repeats its storage of {} elements up to {} bytes; {} are accepted for this file",
           brackets(t.shape), available, numel * size, largest);
  }
  t.offset = (view.offset * whole.element_size) + offset * size;
  t.extent = numel == 0 ? 0 : (last - offset + 1) * size;
  budget_.take(sizeof(Tensor) + 2 * (8 * t.shape.size() + 16));
  tensors_.push_back(std::move(t));
  return add(Kind::tensor, tensors_.size() - 1);
}

}  // namespace hr::pickling
