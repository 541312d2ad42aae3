#include "core/io/onnx.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "core/error.h"
#include "core/io/budget.h"
#include "core/io/onnx_fields.h"
#include "core/io/protobuf.h"
#include "core/io/text.h"

namespace hr {
namespace {

namespace f = onnx_fields;

constexpr size_t kMaxRank = 64;  // PyTorch has the same limit.

}  // namespace

struct OnnxFile::Parser {
  OnnxFile& file;
  std::string where;
  Budget budget{where};

  std::string text(const ProtoReader& r) {
    budget.take(r.text().size());
    return std::string(r.text());
  }

  template <class T>
  T& append(std::vector<T>& list) {
    budget.take(2 * sizeof(T));  // A vector that grows may allocate room for twice its elements.
    return list.emplace_back();
  }

  void numbers(const ProtoReader& r, std::vector<int64_t>& list) {
    r.integers([&](int64_t v) { append(list) = v; });
  }

  void reals(const ProtoReader& r, std::vector<float>& list, bool packed) {
    if (!packed) {
      append(list) = r.real();
      return;
    }
    const auto bytes = r.bytes();
    if (bytes.empty()) return;  // An empty list may have a null pointer, which memcpy does not accept.
    if (bytes.size() % 4 != 0) r.refuse("packed 32-bit numbers whose length is no multiple of 4");
    budget.take(2 * bytes.size());
    const size_t before = list.size();
    list.resize(before + bytes.size() / 4);
    std::memcpy(list.data() + before, bytes.data(), bytes.size());
  }

  // This is a tensor as the file stores it, before its numbers are converted.
  struct Tensor {
    NamedArray array;
    int64_t type = 0;
    std::vector<int64_t> integers;  // It holds the values of int32_data or int64_data.
    // It views raw_data, or packed float_data or double_data, whose bytes are the same.
    std::span<const std::byte> stored;
    int kinds = 0;  // It counts how many of these fields the tensor has.
  };

  void tensor_field(const ProtoReader& r, Tensor& t) {
    switch (r.field()) {
      case f::tensor::dims:
        r.integers([&](int64_t d) {
          if (t.array.shape.size() == kMaxRank) r.refuse(fmt::format("a tensor has more than {} dimensions", kMaxRank));
          if (d < 0) r.refuse(fmt::format("a dimension of a tensor is {}", d));
          append(t.array.shape) = d;
        });
        break;
      case f::tensor::data_type:
        t.type = r.integer();
        break;
      case f::tensor::name:
        t.array.name = text(r);
        if (!valid_utf8(t.array.name)) r.refuse("the name of a tensor is not UTF-8");
        break;
      case f::tensor::raw_data:
      case f::tensor::float_data:
      case f::tensor::double_data:
        t.stored = r.bytes();
        ++t.kinds;
        break;
      case f::tensor::int32_data:
      case f::tensor::int64_data:
        if (t.integers.empty()) ++t.kinds;
        numbers(r, t.integers);
        break;
      case f::tensor::segment:
        r.refuse("a tensor in segments");
      case f::tensor::external_data:
      case f::tensor::data_location:
        if (r.field() == f::tensor::external_data || r.integer() != 0) {
          fail(
              "{}: its tensors lie in other files (external data), which are never opened; save it as one file "
              "(torch.onnx.export(..., external_data=False))",
              where);
        }
        break;
      default:
        break;
    }
  }

  // Returns false if DType has no such element type.
  bool tensor(ProtoReader r, NamedArray& out) {
    Tensor t;
    while (r.next()) tensor_field(r, t);
    const std::string name = shown(t.array.name);
    const auto* type = std::find_if(std::begin(f::kTypes), std::end(f::kTypes),
                                    [&](const auto& known) { return known.second == t.type; });
    if (type == std::end(f::kTypes)) {
      out.name = std::move(t.array.name);
      return false;
    }
    t.array.dtype = type->first;
    check(t.kinds <= 1, "{}: tensor {}: has its numbers twice", where, name);
    // The product of the other dimensions must fit too, since strides are computed from it.
    uint64_t without_zeros = size_of(t.array.dtype), expected = without_zeros;
    bool fits = true;
    for (const int64_t d : t.array.shape) {
      expected *= static_cast<uint64_t>(d);
      fits = fits &&
             !__builtin_mul_overflow(without_zeros, static_cast<uint64_t>(std::max<int64_t>(d, 1)), &without_zeros);
    }
    check(fits && without_zeros <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()),
          "{}: tensor {}: shape [{}] of {} is too large: its size in bytes does not fit into 63 bits", where, name,
          fmt::join(t.array.shape, ", "), name_of(t.array.dtype));
    t.array.bytes = t.integers.empty() ? t.stored : unpacked(t);
    check(t.array.bytes.size() == expected, "{}: tensor {}: shape [{}] of {} needs {} bytes, the file has {}", where,
          name, fmt::join(t.array.shape, ", "), name_of(t.array.dtype), expected, t.array.bytes.size());
    out = std::move(t.array);
    return true;
  }

  // Converts numbers that the file stores as varints to their element type. For float16 and bfloat16 the varints hold
  // the bits of the numbers.
  std::span<const std::byte> unpacked(const Tensor& t) {
    const size_t each = size_of(t.array.dtype);
    check(t.array.dtype != DType::f32 && t.array.dtype != DType::f64,
          "{}: tensor {}: is of {}, but its numbers are whole ones", where, shown(t.array.name),
          name_of(t.array.dtype));
    budget.take(t.integers.size() * each);
    auto& bytes = file.unpacked_.emplace_back(t.integers.size() * each);
    for (size_t i = 0; i < t.integers.size(); ++i) std::memcpy(bytes.data() + i * each, &t.integers[i], each);
    return bytes;
  }

  void attribute(ProtoReader r, OnnxAttribute& a) {
    int64_t type = 0, i = 0;
    float real = 0;
    std::string s;
    std::vector<int64_t> ints;
    std::vector<float> floats;
    NamedArray t;
    bool known = false;
    while (r.next()) {
      switch (r.field()) {
        case f::attribute::name:
          a.name = text(r);
          break;
        case f::attribute::type:
          type = r.integer();
          break;
        case f::attribute::i:
          i = r.integer();
          break;
        case f::attribute::f:
          real = r.real();
          break;
        case f::attribute::s:
          s = text(r);
          break;
        case f::attribute::ints:
          numbers(r, ints);
          break;
        case f::attribute::floats:
          reals(r, floats, r.packed());
          break;
        case f::attribute::t:
          known = tensor(r.message(), t);
          break;
        default:
          break;
      }
    }
    if (type == f::attribute::type_int) a.value = i;
    if (type == f::attribute::type_float) a.value = real;
    if (type == f::attribute::type_string) a.value = std::move(s);
    if (type == f::attribute::type_ints) a.value = std::move(ints);
    if (type == f::attribute::type_floats) a.value = std::move(floats);
    if (type == f::attribute::type_tensor && known) a.value = std::move(t);
  }

  void node(ProtoReader r, OnnxNode& n) {
    while (r.next()) {
      switch (r.field()) {
        case f::node::input:
          append(n.inputs) = text(r);
          break;
        case f::node::output:
          append(n.outputs) = text(r);
          break;
        case f::node::name:
          n.name = text(r);
          break;
        case f::node::op_type:
          n.op = text(r);
          break;
        case f::node::domain:
          n.domain = text(r);
          break;
        case f::node::attribute:
          attribute(r.message(), append(n.attributes));
          break;
        default:
          break;
      }
    }
  }

  void dims(ProtoReader shape, OnnxValue& v) {
    while (shape.next()) {
      if (shape.field() != f::shape::dim) continue;
      OnnxValue::Dim& dim = append(v.dims);
      for (ProtoReader r = shape.message(); r.next();) {
        if (r.field() == f::dim::value) dim.size = r.integer();
        if (r.field() == f::dim::param) dim.symbol = text(r);
      }
    }
  }

  void value_info(ProtoReader r, OnnxValue& v) {
    while (r.next()) {
      if (r.field() == f::value_info::name) v.name = text(r);
      if (r.field() != f::value_info::type) continue;
      for (ProtoReader type = r.message(); type.next();) {
        if (type.field() != f::type::tensor_type) continue;
        for (ProtoReader tensor = type.message(); tensor.next();) {
          if (tensor.field() == f::tensor_type::shape) dims(tensor.message(), v);
          if (tensor.field() != f::tensor_type::elem_type) continue;
          for (const auto& [dtype, number] : f::kTypes) {
            if (number == tensor.integer()) v.dtype = dtype;
          }
        }
      }
    }
  }

  void graph(ProtoReader r) {
    OnnxModel& m = file.model_;
    std::unordered_set<std::string> names;
    while (r.next()) {
      switch (r.field()) {
        case f::graph::name:
          m.graph = text(r);
          break;
        case f::graph::node:
          node(r.message(), append(m.nodes));
          break;
        case f::graph::input:
          value_info(r.message(), append(m.inputs));
          break;
        case f::graph::output:
          value_info(r.message(), append(m.outputs));
          break;
        case f::graph::initializer: {
          NamedArray array;
          const bool known = tensor(r.message(), array);
          budget.take(array.name.size() + 64);
          check(names.insert(array.name).second, "{}: tensor {} occurs twice", where, shown(array.name));
          if (known) {
            append(m.tensors) = std::move(array);
          } else {
            append(file.skipped_) = std::move(array.name);
          }
          break;
        }
        case f::graph::sparse_initializer:
          r.refuse("a sparse tensor");
        default:
          break;
      }
    }
  }

  void opset(ProtoReader r) {
    std::string domain;
    int64_t version = 0;
    while (r.next()) {
      if (r.field() == f::opset::domain) domain = text(r);
      if (r.field() == f::opset::version) version = r.integer();
    }
    if (domain.empty() || domain == "ai.onnx") file.model_.opset = version;
  }

  void entry(ProtoReader r) {
    std::string key, value;
    budget.take(128);
    while (r.next()) {
      if (r.field() == f::entry::key) key = text(r);
      if (r.field() == f::entry::value) value = text(r);
    }
    if (!valid_utf8(key) || !valid_utf8(value)) r.refuse("metadata that is not UTF-8");
    check(file.model_.metadata.emplace(std::move(key), std::move(value)).second, "{}: metadata has a key twice", where);
  }
};

OnnxFile::OnnxFile(const fs::path& path) : file_(path), path_(path) { load(file_.bytes()); }
OnnxFile::OnnxFile(std::span<const std::byte> bytes, const fs::path& name) : path_(name) { load(bytes); }

void OnnxFile::load(std::span<const std::byte> bytes) {
  Parser parser{*this, path_.string()};
  ProtoReader r(bytes, parser.where);
  bool graph = false;
  model_.ir_version = model_.opset = 0;
  while (r.next()) {
    switch (r.field()) {
      case f::model::ir_version:
        model_.ir_version = r.integer();
        break;
      case f::model::producer_name:
        model_.producer = parser.text(r);
        break;
      case f::model::producer_version:
        model_.producer_version = parser.text(r);
        break;
      case f::model::graph:
        if (std::exchange(graph, true)) r.refuse("a second graph");
        parser.graph(r.message());
        break;
      case f::model::opset_import:
        parser.opset(r.message());
        break;
      case f::model::metadata_props:
        parser.entry(r.message());
        break;
      default:
        break;
    }
  }
  check(graph, "{}: not an ONNX file: it has no graph", parser.where);
}

bool looks_like_onnx(std::string_view text) {
  // An ONNX file begins with the IR version, followed by a field that is a text or a message. A safetensors file begins
  // with a length below 2^32, so its bytes 4 to 7 are zero.
  if (text.size() < 9 || text[0] != 8 || text[1] < 1 || text.substr(4, 4) == std::string_view("\0\0\0\0", 4))
    return false;
  const auto tag = static_cast<uint8_t>(text[2]);
  return (tag & 7) == 2 && (tag >> 3) >= f::model::producer_name && (tag >> 3) <= f::model::metadata_props;
}

}  // namespace hr
