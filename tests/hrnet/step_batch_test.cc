// Tests of the places that the arrays of a batch get on the device.
#include "hrnet/train/step_batch.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace hr {
namespace {

struct Arrays {
  std::vector<float> images = std::vector<float>(2 * 5 * 3), weights = std::vector<float>(2 * 3);
  std::vector<uint8_t> sources = std::vector<uint8_t>(2 * 300);
  StepBatch batch() const {
    return {{sources, {2, 300}, "sources"}, {weights, {2, 3}, "weights"}, {images, {2, 5, 3}, "other"}};
  }
};

// The parts are aligned and follow each other without overlap.
void expect_apart(std::vector<std::pair<size_t, size_t>> parts, size_t all) {
  std::sort(parts.begin(), parts.end());
  size_t end = 0;
  for (const auto& [begin, size] : parts) {
    EXPECT_EQ(begin % 256, 0U);
    EXPECT_GE(begin, end);
    end = begin + size;
  }
  EXPECT_LE(end, all);
}

TEST(StepBatch, WithoutPreparationTheInputsAreTheArrays) {
  const Arrays arrays;
  const BatchLayout l = lay_out(arrays.batch(), nullptr, 12);
  ASSERT_EQ(l.inputs.size(), 3U);
  EXPECT_EQ(l.made, 3U);
  EXPECT_EQ(l.all, l.input_bytes);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(l.inputs[i].begin, l.uploads[i].begin);
  EXPECT_EQ(l.inputs[2].name, "other");
  expect_apart({{l.uploads[0].begin, 600}, {l.uploads[1].begin, 24}, {l.uploads[2].begin, 120}, {l.control, 12}},
               l.all);
}

TEST(StepBatch, WhatOnlyThePreparationReadsLiesBehindTheInputs) {
  const Arrays arrays;
  const Preparation p{.reads = {"sources"}, .makes = {{"images", {2, 9}, DType::bf16}}, .compute = {}};
  const BatchLayout l = lay_out(arrays.batch(), &p, 12);
  ASSERT_EQ(l.inputs.size(), 3U);
  EXPECT_EQ(l.inputs[0].name, "weights");
  EXPECT_EQ(l.inputs[1].name, "other");
  EXPECT_EQ(l.inputs[2].name, "images");
  EXPECT_EQ(l.inputs[2].dtype, DType::bf16);
  EXPECT_EQ(l.made, 2U);
  EXPECT_EQ(l.inputs[0].begin, l.uploads[1].begin);
  EXPECT_EQ(l.inputs[1].begin, l.uploads[2].begin);
  EXPECT_GE(l.uploads[0].begin, l.input_bytes);
  expect_apart({{l.uploads[0].begin, 600},
                {l.uploads[1].begin, 24},
                {l.uploads[2].begin, 120},
                {l.inputs[2].begin, 36},
                {l.control, 12}},
               l.all);
}

TEST(StepBatch, APreparationReadsOnlyWhatTheBatchHas) {
  const Arrays arrays;
  const Preparation p{.reads = {"sources", "normal"}, .makes = {}, .compute = {}};
  EXPECT_THROW(lay_out(arrays.batch(), &p, 12), Error);
}

}  // namespace
}  // namespace hr
