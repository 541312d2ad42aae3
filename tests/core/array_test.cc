#include "core/io/array.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"

namespace hr {
namespace {

template <class T>
ArrayView view(const std::vector<T>& data, DType dtype, const std::vector<int64_t>& shape,
               const std::vector<int64_t>& stride = {}) {
  return {.dtype = dtype, .shape = shape, .bytes = std::as_bytes(std::span(data)), .stride = stride};
}

// The definition: element (i, j, k) is at the sum of index times stride.
std::vector<int64_t> by_definition(const std::vector<int64_t>& data, const std::vector<int64_t>& shape,
                                   const std::vector<int64_t>& stride) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < shape[0]; ++i) {
    for (int64_t j = 0; j < shape[1]; ++j) {
      for (int64_t k = 0; k < shape[2]; ++k) {
        out.push_back(data[static_cast<size_t>(i * stride[0] + j * stride[1] + k * stride[2])]);
      }
    }
  }
  return out;
}

TEST(ArrayView, EveryOrderOfStridesReadsRowMajor) {
  std::vector<int64_t> data(1000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<int64_t>(i * i % 997);
  const std::vector<int64_t> strides[] = {{15, 3, 1}, {1, 7, 35}, {15, 1, 5}, {30, 6, 2}, {0, 1, 5},
                                          {45, 3, 1}, {0, 0, 0},  {1, 1, 1},  {3, 30, 1}, {15, 5, 1}};
  for (const auto& stride : strides) {
    for (const auto& shape : {std::vector<int64_t>{7, 5, 3}, {1, 5, 3}, {7, 1, 3}, {7, 5, 1}, {1, 1, 1}}) {
      const ArrayView a = view(data, DType::i64, shape, stride);
      const auto expected = by_definition(data, shape, stride);
      EXPECT_EQ(a.to_i64(), expected) << fmt::format("{} / {}", fmt::join(shape, " "), fmt::join(stride, " "));
      std::vector<int64_t> copied(expected.size());
      a.copy_to(std::as_writable_bytes(std::span(copied)));
      EXPECT_EQ(copied, expected);
      bool in_order = a.numel() == 1 || a.dense();
      for (size_t i = 0; in_order && i < expected.size(); ++i) in_order = data[i] == expected[i];
      EXPECT_EQ(a.dense(), in_order) << fmt::format("{} / {}", fmt::join(shape, " "), fmt::join(stride, " "));
    }
  }
}

TEST(ArrayView, StridedAndDenseCopiesAgreeForEveryElementSize) {
  std::vector<uint8_t> data(8 * 24);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(i * 37);
  for (const DType t : {DType::f64, DType::f32, DType::f16, DType::u8}) {
    const size_t size = size_of(t);
    const ArrayView transposed = view(data, t, {4, 6}, {1, 4});
    std::vector<uint8_t> out(24 * size), expected;
    for (size_t i = 0; i < 4; ++i) {
      for (size_t j = 0; j < 6; ++j) {
        const auto* p = data.data() + (i + 4 * j) * size;
        expected.insert(expected.end(), p, p + size);
      }
    }
    transposed.copy_to(std::as_writable_bytes(std::span(out)));
    EXPECT_EQ(out, expected) << name_of(t);
  }
}

TEST(ArrayView, ScalarsAndEmptyArrays) {
  const std::vector<float> data{1.5f, 2, 3};
  EXPECT_EQ(view(data, DType::f32, {}).numel(), 1);
  EXPECT_EQ(view(data, DType::f32, {}).to_f32(), std::vector<float>{1.5f});
  EXPECT_TRUE(view(data, DType::f32, {}).dense());
  EXPECT_EQ(view(data, DType::f32, {0, 3}).to_f32(), std::vector<float>{});
  EXPECT_EQ(view(data, DType::f32, {3, 0}, {9, 9}).to_f64(), std::vector<double>{});
  EXPECT_EQ((ArrayView{.dtype = DType::i64, .shape = {0}}.to_i64()), std::vector<int64_t>{});
}

TEST(ArrayView, EveryDtypeConverts) {
  EXPECT_EQ(view<float>({1.5f, -0.0f}, DType::f32, {2}).to_f64(), (std::vector<double>{1.5, 0}));
  EXPECT_EQ(view<double>({0.1}, DType::f64, {1}).to_f32(), std::vector<float>{0.1f});
  EXPECT_EQ(view<uint16_t>({0x3fc0, 0xc000}, DType::bf16, {2}).to_f32(), (std::vector<float>{1.5f, -2}));
  EXPECT_EQ(view<int32_t>({INT32_MIN}, DType::i32, {1}).to_i64(), std::vector<int64_t>{INT32_MIN});
  EXPECT_EQ(view<int16_t>({-5}, DType::i16, {1}).to_i64(), std::vector<int64_t>{-5});
  EXPECT_EQ(view<int8_t>({-128}, DType::i8, {1}).to_i64(), std::vector<int64_t>{-128});
  EXPECT_EQ(view<uint8_t>({255}, DType::u8, {1}).to_i64(), std::vector<int64_t>{255});
  EXPECT_EQ(view<uint8_t>({0, 1, 2}, DType::boolean, {3}).to_i64(), (std::vector<int64_t>{0, 1, 1}));
  EXPECT_THROW(view<float>({1}, DType::f32, {1}).to_i64(), Error);
  EXPECT_THROW(view<uint8_t>({1}, DType::u8, {1}).to_f32(), Error);
  EXPECT_THROW(view<int64_t>({1}, DType::i64, {1}).to_f64(), Error);
}

TEST(ArrayView, EveryHalfIsTheNumberItStandsFor) {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const std::vector<double> v = view(all, DType::f16, {1 << 16}).to_f64();
  for (size_t i = 0; i < all.size(); ++i) {
    const int exponent = static_cast<int>(i >> 10 & 31), mantissa = static_cast<int>(i & 1023);
    double expected = std::ldexp(exponent == 0 ? mantissa : mantissa + 1024, std::max(exponent, 1) - 25);
    if (exponent == 31) expected = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
    if (i >> 15 != 0) expected = -expected;
    ASSERT_TRUE(v[i] == expected || (std::isnan(v[i]) && std::isnan(expected))) << i;
    ASSERT_EQ(std::signbit(v[i]), i >> 15 != 0) << i;
  }
}

TEST(ArrayView, AViewThatLeavesItsBytesIsRefused) {
  const std::vector<float> data(12);
  EXPECT_NO_THROW(view(data, DType::f32, {3, 4}, {1, 3}).to_f32());
  EXPECT_THROW(view(data, DType::f32, {3, 5}).to_f32(), Error);
  EXPECT_THROW(view(data, DType::f32, {3, 4}, {1, 4}).to_f32(), Error);
  EXPECT_THROW(view(data, DType::f32, {3, 4}, {1}).to_f32(), Error);
  EXPECT_THROW(view(data, DType::f32, {}).copy_to({}), Error);
  std::vector<std::byte> out(48);
  EXPECT_NO_THROW(view(data, DType::f32, {3, 4}).copy_to(out));
  EXPECT_THROW(view(data, DType::f32, {3, 4}).copy_to(std::span(out).first(44)), Error);
}

}  // namespace
}  // namespace hr
