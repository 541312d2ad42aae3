// The SiLU of networks with 8-bit integers, silu(v) = v / (1 + exp(-v)), from single operations in a fixed order, so
// that every instruction set gives the same bits. The files that use it are compiled without the contraction of
// multiplications and additions (ops/CMakeLists.txt). The relative error is below 1e-5.
#pragma once
#include <bit>
#include <cstdint>

namespace hr::int8 {

// exp(-v) = 2^t with t = -v log2(e), which is the power of two of the nearest integer n, times a polynomial in the rest
// r = t - n, which lies in [-1/2, 1/2]. The coefficients are ln(2)^i / i!.
inline constexpr float kSiluMost = 87.0F, kMinusLog2E = -1.44269504F;
// Adding this to a number between -2^22 and 2^22 rounds it to the nearest integer, which is then in the lowest bits.
inline constexpr float kSiluRound = 12582912.0F;
inline constexpr float kPower1 = 0.693147181F, kPower2 = 0.240226507F, kPower3 = 0.0555041087F,
                       kPower4 = 0.00961812911F, kPower5 = 0.00133335581F;
inline constexpr int32_t kOneBits = 0x3f800000;  // The bits of 1.0F.

inline __attribute__((always_inline)) float silu(float v) {
  const float above = v > -kSiluMost ? v : -kSiluMost;
  const float limited = above < kSiluMost ? above : kSiluMost;
  const float t = limited * kMinusLog2E;
  const float shifted = t + kSiluRound;
  const float r = t - (shifted - kSiluRound);
  float power = kPower5;
  power = power * r + kPower4;
  power = power * r + kPower3;
  power = power * r + kPower2;
  power = power * r + kPower1;
  power = power * r + 1.0F;
  const uint32_t exponent = (std::bit_cast<uint32_t>(shifted) << 23) + static_cast<uint32_t>(kOneBits);
  return v / (1.0F + power * std::bit_cast<float>(exponent));
}

}  // namespace hr::int8
