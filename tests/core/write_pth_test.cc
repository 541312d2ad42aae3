#include "core/io/pth.h"

#include <gtest/gtest.h>

#include <csignal>

#include "core/error.h"
#include "tests/support/child.h"
#include "tests/support/named_tensors.h"
#include "tests/support/oracle.h"
#include "tests/support/pth_samples.h"
#include "tests/support/values.h"

namespace hr {
namespace {

using test::bits;
using test::named_tensors;
using test::NamedView;

TEST(WritePth, WhatIsWrittenIsReadBackBitForBit) {
  const auto folder = test::temporary_folder();
  std::vector<NamedArray> arrays;
  std::vector<std::vector<std::byte>> data;
  const DType all[] = {DType::f32, DType::bf16, DType::f64, DType::f16, DType::i64,
                       DType::i32, DType::i16,  DType::i8,  DType::u8,  DType::boolean};
  const std::vector<std::vector<int64_t>> shapes{{}, {3}, {2, 3}, {0, 3}, {1, 1, 5, 7}, {300}, {70000}};
  int seed = 1;
  for (const DType t : all) {
    for (const auto& shape : shapes) {
      size_t n = size_of(t);
      for (const int64_t d : shape) n *= static_cast<size_t>(d);
      auto& bytes = data.emplace_back(n);
      for (auto& b : bytes) b = static_cast<std::byte>(t == DType::boolean ? (seed++ & 1) : (seed++ * 167 >> 3));
      arrays.push_back({fmt::format("{}.ключ-{}", name_of(t), shape.size() * 100000 + n), t, shape, {}});
    }
  }
  for (size_t i = 0; i < arrays.size(); ++i) arrays[i].bytes = data[i];
  const auto path = folder / "a.pth", again = folder / "b.pth";
  write_pth(path, arrays);
  const PthFile file(path);
  EXPECT_EQ(file.container(), "zip");
  EXPECT_NO_THROW(file.verify());
  const auto tensors = named_tensors(file.root(), "a.pth");
  ASSERT_EQ(tensors.size(), arrays.size());
  std::vector<NamedArray> back;
  const std::string text = read_file(path);
  for (size_t i = 0; i < arrays.size(); ++i) {
    EXPECT_EQ(tensors[i].name, arrays[i].name);
    EXPECT_EQ(tensors[i].array->dtype, arrays[i].dtype);
    EXPECT_EQ(tensors[i].array->shape, arrays[i].shape);
    EXPECT_TRUE(tensors[i].array->stride.empty());
    EXPECT_EQ(bits(*tensors[i].array), data[i]) << arrays[i].name;
    back.push_back({tensors[i].name, tensors[i].array->dtype, tensors[i].array->shape, tensors[i].array->bytes});
  }
  // pth -> safetensors -> pth gives the same file.
  write_safetensors(folder / "a.safetensors", back);
  const SafetensorsFile safe(folder / "a.safetensors");
  std::vector<NamedArray> third;
  for (const NamedView& t : tensors) {
    const ArrayView& a = safe.at(t.name);
    third.push_back({t.name, a.dtype, a.shape, a.bytes});
  }
  write_pth(again, third);
  EXPECT_EQ(read_file(again), text);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 3) << "no temporary file is left";
}

TEST(WritePth, StoragesAreAlignedAndTheRecordsAreTorchs) {
  const auto path = test::temporary_folder() / "a.pth";
  const std::vector<float> data(5, 1.25f);
  std::vector<NamedArray> arrays;
  arrays.reserve(12);
  for (int i = 0; i < 12; ++i) arrays.push_back({std::to_string(i), DType::f32, {5}, std::as_bytes(std::span(data))});
  write_pth(path, arrays);
  const std::string text = read_file(path);
  const PthFile file(std::as_bytes(std::span(text)), path);
  for (const NamedView& t : named_tensors(file.root(), "")) {
    EXPECT_EQ((reinterpret_cast<const char*>(t.array->bytes.data()) - text.data()) % 64, 0) << t.name;
  }
  for (const char* member :
       {"archive/data.pkl", "archive/byteorder", "archive/data/0", "archive/data/11", "archive/version"}) {
    EXPECT_NE(text.find(member), std::string::npos) << member;
  }
}

TEST(WritePth, WhatCannotBeWrittenLeavesTheOldFile) {
  const auto path = test::temporary_folder() / "a.pth";
  write_file(path, "old");
  const std::vector<float> data(6);
  const auto bytes = std::as_bytes(std::span(data));
  const std::vector<std::vector<NamedArray>> wrong{{{"w", DType::f32, {2, 2}, bytes}},
                                                   {{"w", DType::f64, {2, 3}, bytes}},
                                                   {{"\xff", DType::f32, {6}, bytes}},
                                                   {{"w", DType::f32, {6}, bytes}, {"w", DType::f32, {6}, bytes}}};
  for (const auto& arrays : wrong) {
    EXPECT_THROW(write_pth(path, arrays), Error);
    EXPECT_EQ(read_file(path), "old");
  }
  EXPECT_THROW(write_pth(path.parent_path() / "none" / "a.pth", {}), Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(path.parent_path()), {}), 1);
  // Imitates a full disk by a limit on the file size, in a child process.
  const std::vector<float> large(1 << 20);
  const test::ChildResult r = test::in_child(int64_t{1} << 40, [&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const NamedArray array{"w", DType::f32, {1 << 20}, std::as_bytes(std::span(large))};
    write_pth(path, std::span(&array, 1));
    return std::string("written");
  });
  EXPECT_TRUE(r.threw) << r.said;
  EXPECT_NE(r.said.find("cannot write"), std::string::npos) << r.said;
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(path.parent_path()), {}), 1);
}

TEST(WritePth, NoTensorsIsAnEmptyDict) {
  const auto path = test::temporary_folder() / "a.pth";
  write_pth(path, {});
  EXPECT_EQ(test::text_of(PthFile(path).root()), "{}");
}

}  // namespace
}  // namespace hr
