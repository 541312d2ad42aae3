#include "core/philox.h"

#include <gtest/gtest.h>

namespace hr {
namespace {

// Known answers published with the Random123 library (philox4x32-10).
TEST(Philox, MatchesThePublishedVectors) {
  using B = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox::block({0, 0, 0, 0}, {0, 0}), (B{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox::block({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (B{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox::block({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (B{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, StreamsAreReproducibleAndDiffer) {
  Philox a(7, 1, 2), b(7, 1, 2), c(7, 1, 3), d(7, 2, 2);
  int equal_c = 0, equal_d = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint32_t v = a.u32();
    EXPECT_EQ(v, b.u32());
    equal_c += v == c.u32();
    equal_d += v == d.u32();
  }
  EXPECT_LE(equal_c, 2);
  EXPECT_LE(equal_d, 2);
}

TEST(Philox, MomentsOfUniformAndNormal) {
  Philox rng(1, 0, 0);
  const int n = 200000;
  double mean_u = 0, mean_n = 0, square_n = 0;
  for (int i = 0; i < n; ++i) {
    const double u = rng.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    mean_u += u / n;
    const double z = rng.normal();
    mean_n += z / n;
    square_n += z * z / n;
  }
  EXPECT_NEAR(mean_u, 0.5, 5 * 0.2887 / std::sqrt(n));  // five standard errors
  EXPECT_NEAR(mean_n, 0.0, 5 / std::sqrt(n));
  EXPECT_NEAR(square_n, 1.0, 5 * std::sqrt(2.0 / n));
}

TEST(Philox, BelowCoversItsRange) {
  Philox rng(3, 0, 0);
  int count[5] = {};
  for (int i = 0; i < 50000; ++i) ++count[rng.below(5)];
  for (const int c : count) EXPECT_NEAR(c, 10000, 500);
}

}  // namespace
}  // namespace hr
