#include "core/io/onnx.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "core/io/protobuf.h"
#include "core/tensor.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// Opens an exact copy on the heap. Returns "" or the reason of the refusal.
std::string why_refused(const std::string& bytes) {
  const std::vector<char> copy(bytes.begin(), bytes.end());
  return message_of([&] { OnnxFile(std::as_bytes(std::span(copy)), "f.onnx"); });
}

void expect_words(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " in: " << text;
}

std::string field(uint32_t number, const std::string& value) {
  std::string out;
  ProtoWriter(out).bytes(number, value);
  return out;
}
std::string field(uint32_t number, int64_t value) {
  std::string out;
  ProtoWriter(out).integer(number, value);
  return out;
}
// A file with one initializer of these fields.
std::string with_tensor(const std::string& tensor) { return field(1, 8) + field(7, field(5, tensor)); }

TEST(Protobuf, NumbersComeBackAtEverySize) {
  for (const int64_t v : {int64_t{0}, int64_t{1}, int64_t{127}, int64_t{128}, int64_t{16383}, int64_t{16384},
                          int64_t{-1}, INT64_MAX, INT64_MIN}) {
    std::string text;
    ProtoWriter(text).integer(3, v);
    const std::string name = "f";
    ProtoReader r(std::as_bytes(std::span(text)), name);
    ASSERT_TRUE(r.next());
    EXPECT_EQ(r.field(), 3u);
    EXPECT_EQ(r.integer(), v);
    EXPECT_FALSE(r.next());
  }
  // The bytes of the format's own documentation: field 1 is 150.
  EXPECT_EQ(field(1, 150), "\x08\x96\x01");
  EXPECT_EQ(field(2, std::string("testing")), "\x12\x07testing");
}

TEST(Protobuf, WhatIsCutOffOrOutOfRangeIsRefusedWithItsByte) {
  const auto read = [](const std::string& text) {
    return message_of([&] {
      const std::vector<char> copy(text.begin(), text.end());
      const std::string name = "f";
      for (ProtoReader r(std::as_bytes(std::span(copy)), name); r.next();) {
      }
    });
  };
  EXPECT_EQ(read("\x08\x01\x12\x01x"), "");
  expect_words(read("\x08\x01\x12\x05xx"), {"byte 2", "5 bytes", "after 2 more"});
  expect_words(read("\x08\x80"), {"byte 0", "cut off"});
  expect_words(read(std::string("\x08") + std::string(10, '\xff') + "\x01"), {"64 bits"});
  expect_words(read(std::string("\x08") + std::string(9, '\xff') + "\x02"), {"64 bits"});
  expect_words(read(std::string("\x00", 1)), {"number is not from 1"});
  expect_words(read("\x0b"), {"wire type 3"});
  expect_words(read(std::string("\x0d\x01\x02", 3)), {"4 bytes"});
}

TEST(Onnx, AModelComesBackAsItWasWritten) {
  const fs::path path = test::temporary_folder() / "m.onnx";
  const float numbers[] = {1, 2, 3, 4, 5, 6};
  const int64_t whole[] = {-1, 1};
  OnnxModel m;
  m.producer = "hrnet.cpp";
  m.producer_version = "1.2.3";
  m.graph = "net";
  m.metadata = {{"task", "pose"}, {"name \"é\"", ""}};
  m.nodes.push_back({.op = "Conv",
                     .name = "conv1",
                     .inputs = {"input", "w", ""},
                     .outputs = {"y"},
                     .attributes = {{"pads", std::vector<int64_t>{1, 0, -1, 2}},
                                    {"alpha", 0.5F},
                                    {"group", int64_t{1}},
                                    {"mode", std::string("nearest")},
                                    {"scales", std::vector<float>{1, 2}},
                                    {"value", NamedArray{"v", DType::i64, {2}, std::as_bytes(std::span(whole))}}},
                     .domain = "own"});
  m.tensors = {{"w", DType::f32, {2, 3}, std::as_bytes(std::span(numbers))},
               {"scalar", DType::i64, {}, std::as_bytes(std::span(whole)).first(8)},
               {"none", DType::f16, {0, 3}, {}}};
  m.inputs = {{"input", DType::f32, {{.symbol = "batch"}, {3}}}};
  m.outputs = {{"y", DType::i64, {{2}}}};
  write_onnx(path, m);
  EXPECT_TRUE(looks_like_onnx(read_file(path)));
  const OnnxFile file(path);
  const OnnxModel& got = file.model();
  EXPECT_EQ(got.ir_version, 8);
  EXPECT_EQ(got.opset, 17);
  EXPECT_EQ(got.producer, m.producer);
  EXPECT_EQ(got.producer_version, m.producer_version);
  EXPECT_EQ(got.graph, "net");
  EXPECT_EQ(got.metadata, m.metadata);
  ASSERT_EQ(got.nodes.size(), 1u);
  const OnnxNode& n = got.nodes[0];
  EXPECT_EQ(n.op, "Conv");
  EXPECT_EQ(n.name, "conv1");
  EXPECT_EQ(n.domain, "own");
  EXPECT_EQ(n.inputs, m.nodes[0].inputs);
  EXPECT_EQ(n.outputs, m.nodes[0].outputs);
  EXPECT_EQ(*n.find<std::vector<int64_t>>("pads"), (std::vector<int64_t>{1, 0, -1, 2}));
  EXPECT_EQ(*n.find<float>("alpha"), 0.5F);
  EXPECT_EQ(*n.find<std::string>("mode"), "nearest");
  EXPECT_EQ(*n.find<std::vector<float>>("scales"), (std::vector<float>{1, 2}));
  EXPECT_EQ(n.find<float>("group"), nullptr) << "of another type";
  EXPECT_EQ(*n.find<int64_t>("group"), 1);
  EXPECT_EQ(n.find<NamedArray>("value")->shape, Shape{2});
  ASSERT_EQ(got.tensors.size(), 3u);
  EXPECT_EQ(got.tensors[0].shape, (Shape{2, 3}));
  EXPECT_EQ(std::memcmp(got.tensors[0].bytes.data(), numbers, sizeof numbers), 0);
  EXPECT_EQ(got.tensors[1].shape, Shape{});
  EXPECT_EQ(got.tensors[2].dtype, DType::f16);
  EXPECT_EQ(got.inputs[0].dims[0].symbol, "batch");
  EXPECT_EQ(got.inputs[0].dims[1].size, 3);
  EXPECT_EQ(got.outputs[0].dtype, DType::i64);
  m.tensors[0].shape = {2, 2};
  expect_words(message_of([&] { write_onnx(path, m); }), {"tensor w", "needs 16 bytes, got 24"});
}

TEST(Onnx, NumbersAreFoundInEveryFieldThatMayHoldThem) {
  const std::string dims = field(1, 2), name = field(8, std::string("t"));
  const auto tensor_of = [&](int64_t type, const std::string& data, auto body) {
    const std::string bytes = with_tensor(dims + field(2, type) + name + data);
    const OnnxFile file(std::as_bytes(std::span(bytes)), "f.onnx");
    const NamedArray& t = file.model().tensors.at(0);
    body(ArrayView{.dtype = t.dtype, .shape = t.shape, .bytes = t.bytes});
  };
  const float reals[] = {1.5F, -2};
  const std::string packed(reinterpret_cast<const char*>(reals), sizeof reals);
  for (const uint32_t where : {4u, 9u})
    tensor_of(1, field(where, packed), [](const ArrayView& t) {
      EXPECT_EQ(t.to_f32(), (std::vector<float>{1.5, -2}));
    });
  const auto whole = [](const ArrayView& t) { EXPECT_EQ(t.to_i64(), (std::vector<int64_t>{-1, 300})); };
  tensor_of(7, field(7, -1) + field(7, 300), whole);
  tensor_of(6, field(5, -1) + field(5, 300), whole);
  tensor_of(7, field(7, std::string(9, '\xff') + "\x01" + "\xac\x02"), whole);  // packed
  // float16 as its bits.
  tensor_of(10, field(5, 0x3c00) + field(5, 0xc000), [](const ArrayView& t) {
    EXPECT_EQ(t.to_f32(), (std::vector<float>{1, -2}));
  });
}

TEST(Onnx, RefusesEverySizeThatDoesNotFit) {
  const std::string name = field(8, std::string("t")), f32 = field(2, 1), raw8 = field(9, std::string(8, 'x'));
  EXPECT_EQ(why_refused(with_tensor(field(1, 2) + f32 + name + raw8)), "");
  expect_words(why_refused(with_tensor(field(1, 3) + f32 + name + raw8)), {"\"t\"", "needs 12 bytes, the file has 8"});
  expect_words(why_refused(with_tensor(field(1, -2) + f32 + name + raw8)), {"dimension of a tensor is -2"});
  expect_words(why_refused(with_tensor(field(1, int64_t{1} << 62) + field(1, 4) + f32 + name)), {"63 bits"});
  expect_words(why_refused(with_tensor(field(1, int64_t{1} << 62) + field(1, 0) + field(1, 4) + f32 + name)),
               {"63 bits"});
  std::string many;
  for (int i = 0; i < 65; ++i) many += field(1, 1);
  expect_words(why_refused(with_tensor(many + f32 + name)), {"more than 64 dimensions"});
  expect_words(why_refused(with_tensor(field(1, 2) + f32 + name + raw8 + field(4, std::string(8, 'x')))), {"twice"});
  expect_words(why_refused(with_tensor(f32 + name + field(7, 5))), {"whole ones"});
  expect_words(why_refused(with_tensor(f32 + name + field(13, std::string("x")))),
               {"external data", "never opened", "external_data=False"});
  expect_words(why_refused(with_tensor(f32 + name + field(14, 1))), {"external data"});
  const std::string one = field(5, f32 + name + field(9, std::string(4, 'x')));
  expect_words(why_refused(field(1, 8) + field(7, one + one)), {"\"t\" occurs twice"});
  expect_words(why_refused(field(1, 8) + field(7, one) + field(7, one)), {"second graph"});
  expect_words(why_refused(field(1, 8)), {"no graph"});
  expect_words(why_refused(""), {"no graph"});
}

// Empty nodes take two bytes in the file and some hundred in memory.
TEST(Onnx, MemoryForNamesAndNodesIsBounded) {
  std::string nodes;
  for (int i = 0; i < 400'000; ++i) nodes += field(1, std::string());
  expect_words(why_refused(field(1, 8) + field(7, nodes)), {"more than 40 MiB"});
  std::string whole;
  for (int i = 0; i < 4'000'000; ++i) whole += '\x01';
  expect_words(why_refused(with_tensor(field(2, 7) + field(7, whole))), {"more than 40 MiB"});
}

// The fuzz target's finding: memcpy got the null pointer of an empty list, which UBSan reports.
TEST(Onnx, AnEmptyPackedListIsEmpty) {
  const std::string attribute = field(1, std::string("scales")) + field(7, std::string()) + field(20, 6);
  const std::string bytes = field(1, 8) + field(7, field(1, field(5, attribute)));
  const OnnxFile file(std::as_bytes(std::span(bytes)), "f.onnx");
  EXPECT_TRUE(file.model().nodes.at(0).find<std::vector<float>>("scales")->empty());
}

TEST(Onnx, OtherElementTypesAreLeftOutByName) {
  const std::string bytes = with_tensor(field(2, 8) + field(8, std::string("texts")) + field(6, std::string("x")));
  const OnnxFile file(std::as_bytes(std::span(bytes)), "f.onnx");
  EXPECT_TRUE(file.model().tensors.empty());
  EXPECT_EQ(file.skipped(), std::vector<std::string>{"texts"});
}

}  // namespace
}  // namespace hr
