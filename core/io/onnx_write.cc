#include "core/error.h"
#include "core/io/onnx.h"
#include "core/io/onnx_fields.h"
#include "core/io/protobuf.h"

namespace hr {
namespace {

namespace f = onnx_fields;

int64_t number_of(DType type) {
  for (const auto& [dtype, number] : f::kTypes) {
    if (dtype == type) return number;
  }
  fail("onnx: has no element type {}", name_of(type));
}

// Returns the encoded tensor without its data bytes, which follow as the last field of the message.
std::string tensor_header(const NamedArray& a) {
  uint64_t expected = size_of(a.dtype);
  for (const int64_t d : a.shape) expected *= static_cast<uint64_t>(d);
  check(expected == a.bytes.size(), "onnx: tensor {}: shape [{}] needs {} bytes, got {}", a.name,
        fmt::join(a.shape, ", "), expected, a.bytes.size());
  std::string out;
  ProtoWriter w(out);
  w.integers(f::tensor::dims, a.shape);
  w.integer(f::tensor::data_type, number_of(a.dtype));
  w.bytes(f::tensor::name, a.name);
  w.header(f::tensor::raw_data, a.bytes.size());
  return out;
}

std::string attribute(const OnnxAttribute& a) {
  std::string out;
  ProtoWriter w(out);
  w.bytes(f::attribute::name, a.name);
  int64_t type = 0;
  if (const auto* i = std::get_if<int64_t>(&a.value)) {
    w.integer(f::attribute::i, *i);
    type = f::attribute::type_int;
  } else if (const auto* r = std::get_if<float>(&a.value)) {
    w.real(f::attribute::f, *r);
    type = f::attribute::type_float;
  } else if (const auto* s = std::get_if<std::string>(&a.value)) {
    w.bytes(f::attribute::s, *s);
    type = f::attribute::type_string;
  } else if (const auto* is = std::get_if<std::vector<int64_t>>(&a.value)) {
    w.integers(f::attribute::ints, *is);
    type = f::attribute::type_ints;
  } else if (const auto* rs = std::get_if<std::vector<float>>(&a.value)) {
    w.reals(f::attribute::floats, *rs);
    type = f::attribute::type_floats;
  } else if (const auto* t = std::get_if<NamedArray>(&a.value)) {
    std::string tensor = tensor_header(*t);
    tensor.append(reinterpret_cast<const char*>(t->bytes.data()), t->bytes.size());
    w.bytes(f::attribute::t, tensor);
    type = f::attribute::type_tensor;
  } else {
    fail("onnx: the attribute {} has no value that could be written", a.name);
  }
  w.integer(f::attribute::type, type);
  return out;
}

std::string node(const OnnxNode& n) {
  std::string out;
  ProtoWriter w(out);
  for (const std::string& name : n.inputs) w.bytes(f::node::input, name);
  for (const std::string& name : n.outputs) w.bytes(f::node::output, name);
  w.bytes(f::node::name, n.name);
  w.bytes(f::node::op_type, n.op);
  for (const OnnxAttribute& a : n.attributes) w.bytes(f::node::attribute, attribute(a));
  if (!n.domain.empty()) w.bytes(f::node::domain, n.domain);
  return out;
}

std::string value_info(const OnnxValue& v) {
  std::string shape, tensor, type, out;
  for (const OnnxValue::Dim& d : v.dims) {
    std::string dim;
    ProtoWriter w(dim);
    d.symbol.empty() ? w.integer(f::dim::value, d.size) : w.bytes(f::dim::param, d.symbol);
    ProtoWriter(shape).bytes(f::shape::dim, dim);
  }
  ProtoWriter(tensor).integer(f::tensor_type::elem_type, number_of(v.dtype));
  ProtoWriter(tensor).bytes(f::tensor_type::shape, shape);
  ProtoWriter(type).bytes(f::type::tensor_type, tensor);
  ProtoWriter(out).bytes(f::value_info::name, v.name);
  ProtoWriter(out).bytes(f::value_info::type, type);
  return out;
}

}  // namespace

void write_onnx(const fs::path& path, const OnnxModel& model, const WriteProgress& progress) {
  // The graph message consists of the nodes, then the tensors, each preceded by its length, then the inputs and
  // outputs.
  std::string nodes, values;
  for (const OnnxNode& n : model.nodes) ProtoWriter(nodes).bytes(f::graph::node, node(n));
  ProtoWriter(nodes).bytes(f::graph::name, model.graph);
  std::vector<std::string> headers;
  uint64_t size = 0, all_bytes = 0;
  for (const NamedArray& a : model.tensors) {
    const std::string header = tensor_header(a);
    std::string& field = headers.emplace_back();
    ProtoWriter(field).header(f::graph::initializer, header.size() + a.bytes.size());
    field += header;
    size += field.size() + a.bytes.size();
    all_bytes += a.bytes.size();
  }
  for (const OnnxValue& v : model.inputs) ProtoWriter(values).bytes(f::graph::input, value_info(v));
  for (const OnnxValue& v : model.outputs) ProtoWriter(values).bytes(f::graph::output, value_info(v));
  size += nodes.size() + values.size();

  std::string head, tail, opset;
  ProtoWriter w(head);
  w.integer(f::model::ir_version, model.ir_version);
  w.bytes(f::model::producer_name, model.producer);
  w.bytes(f::model::producer_version, model.producer_version);
  w.header(f::model::graph, size);
  ProtoWriter(opset).bytes(f::opset::domain, "");
  ProtoWriter(opset).integer(f::opset::version, model.opset);
  ProtoWriter(tail).bytes(f::model::opset_import, opset);
  for (const auto& [key, value] : model.metadata) {
    std::string entry;
    ProtoWriter(entry).bytes(f::entry::key, key);
    ProtoWriter(entry).bytes(f::entry::value, value);
    ProtoWriter(tail).bytes(f::model::metadata_props, entry);
  }
  constexpr uint64_t kMost = (uint64_t{1} << 31) - 1;
  check(head.size() + size + tail.size() <= kMost,
        "{}: would have {} bytes; an ONNX file that holds its own tensors can have 2 GiB", path.string(),
        head.size() + size + tail.size());

  AtomicFile file(path);
  file.write(head);
  file.write(nodes);
  int64_t done = 0;
  for (size_t i = 0; i < headers.size(); ++i) {
    file.write(headers[i]);
    file.write(model.tensors[i].bytes);
    done += static_cast<int64_t>(model.tensors[i].bytes.size());
    if (progress) progress(done, static_cast<int64_t>(all_bytes));
  }
  file.write(values);
  file.write(tail);
  file.commit();
}

}  // namespace hr
