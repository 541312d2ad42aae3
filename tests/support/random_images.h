// Inputs of networks for tests.
#pragma once
#include <random>

#include "core/context.h"

namespace hr::test {

// [n, h, w, 3] f32 on the CPU, normally distributed.
inline Tensor random_images(const Context& cx, int64_t n, int64_t h, int64_t w, uint32_t seed) {
  Tensor images = cx.empty({n, h, w, 3}, DType::f32);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < images.numel(); ++i) images.data<float>()[i] = normal(random);
  return images;
}

}  // namespace hr::test
