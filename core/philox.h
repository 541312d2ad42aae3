// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC'11, "Parallel random numbers: as easy as 1, 2, 3"). A
// stream is identified by (seed, a, b), for example (seed, epoch, sample index). Therefore neither the number of
// workers nor a restart changes what a sample draws.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

namespace hr {

class Philox {
 public:
  // Uses the lower 32 bits of `a`, and all 64 bits of `seed` and `b`.
  Philox(uint64_t seed, uint64_t a, uint64_t b)
      : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
        counter_{0, static_cast<uint32_t>(a), static_cast<uint32_t>(b), static_cast<uint32_t>(b >> 32)} {}

  // The bijection itself, public so that the published known-answer vectors can be checked.
  static std::array<uint32_t, 4> block(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
      const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
      c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
           static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
      k[0] += 0x9E3779B9u;
      k[1] += 0xBB67AE85u;
    }
    return c;
  }

  uint32_t u32() {
    if (used_ == 4) {
      buffer_ = block(counter_, key_);
      ++counter_[0];
      used_ = 0;
    }
    return buffer_[used_++];
  }
  uint64_t u64() {
    const uint64_t high = u32();
    return high << 32 | u32();
  }
  // Returns a uniform number in [0, 1) with 53 random bits.
  double uniform() { return static_cast<double>(u64() >> 11) * 0x1p-53; }
  double uniform(double lo, double hi) { return lo + (hi - lo) * uniform(); }
  // Returns a uniform integer in [0, n); n > 0. The bias of the multiply-shift method is below n / 2^64.
  uint64_t below(uint64_t n) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(u64()) * n >> 64);  // NOLINT
  }
  // Returns a standard normal number (Box and Muller 1958). Each one takes exactly two uniform numbers from the stream.
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }
  double normal(double mean, double stddev) { return mean + stddev * normal(); }

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> buffer_{};
  int used_ = 4;
};

}  // namespace hr
