#include "nn/permute.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/parameters.h"

namespace hr {
namespace {

// Sizes around those of tiles (16 rows, 4 columns) and pieces (128 Ki elements), both layouts, any alignment of the
// file's numbers. The value of every element is its torch index, which float32 holds exactly up to 2^24.
TEST(Permute, EveryElementFindsItsPlaceAndItsWayBack) {
  const Shape shapes[] = {{1, 1, 1, 1},   {3, 16, 3, 3},   {2, 20, 3, 3},  {5, 48, 1, 1},
                          {2, 15, 3, 3},  {1, 17, 7, 7},   {64, 3, 7, 7},  {33, 256, 3, 3},
                          {16, 32, 4, 4}, {130, 36, 2, 1}, {700, 64, 3, 3}};
  for (const Shape& shape : shapes) {
    for (const auto layout : {ParameterLayout::filter, ParameterLayout::deconv_filter, ParameterLayout::plain}) {
      const Parameter p{.torch_shape = layout == ParameterLayout::plain ? Shape{numel(shape)} : shape,
                        .layout = layout};
      const auto n = static_cast<size_t>(numel(shape));
      SCOPED_TRACE(to_string(p.torch_shape) + (layout == ParameterLayout::deconv_filter ? " deconv" : ""));
      std::vector<Piece> pieces;
      cut(p, 7, pieces);
      for (const size_t shift : {0, 1, 8}) {
        std::vector<std::byte> file(n * 4 + 16);
        std::vector<float> numbers(n);
        for (size_t i = 0; i < n; ++i) numbers[i] = static_cast<float>(i);
        std::memcpy(file.data() + shift, numbers.data(), n * 4);
        // The slabs begin on a cache line. One float further, plain stores are used.
        for (const size_t offset : {0, 1}) {
          std::vector<float> memory(n + 32, -1);
          float* ours = memory.data() + (16 - reinterpret_cast<uintptr_t>(memory.data()) / 4 % 16) + offset;
          for (const Piece& piece : pieces) {
            EXPECT_EQ(piece.array, 7u);
            copy_to_ours(piece, file.data() + shift, ours);
          }
          int64_t wrong = 0;
          test::in_torch_order(p, [&](int64_t torch, int64_t own) { wrong += ours[own] != static_cast<float>(torch); });
          EXPECT_EQ(wrong, 0) << "shift " << shift << ", offset " << offset;
          EXPECT_EQ(ours[-1], -1) << "before the parameter";
          EXPECT_EQ(ours[n], -1) << "behind the parameter";
          std::vector<std::byte> back(n * 4 + 16);
          for (const Piece& piece : pieces) copy_to_torch(piece, ours, back.data() + shift);
          EXPECT_EQ(std::memcmp(back.data() + shift, numbers.data(), n * 4), 0);
        }
      }
    }
  }
}

TEST(Permute, LargeParametersAreCutForThreads) {
  std::vector<Piece> pieces;
  cut({.torch_shape = {256, 256, 3, 3}, .layout = ParameterLayout::filter}, 0, pieces);
  EXPECT_GE(pieces.size(), 4u);
  pieces.clear();
  cut({.torch_shape = {2048, 256, 4, 4}, .layout = ParameterLayout::deconv_filter}, 0, pieces);
  EXPECT_GE(pieces.size(), 32u);
  pieces.clear();
  cut({.torch_shape = {64}}, 0, pieces);
  EXPECT_EQ(pieces.size(), 1u);
}

}  // namespace
}  // namespace hr
