// numpy's order of summation. A sum in another order often differs in the last bit, which can move an OKS across a
// threshold. Therefore means that the reference computes with numpy are computed with this.
#pragma once
#include <cstddef>

namespace hr {

// Up to 7 numbers are added one by one, up to 128 in eight lanes; more are divided into halves (the first a multiple of
// 8), which are summed separately.
template <class T>
T pairwise_sum(const T* a, size_t n) {
  if (n < 8) {
    T sum = 0;
    for (size_t i = 0; i < n; ++i) sum += a[i];
    return sum;
  }
  if (n <= 128) {
    T lane[8];
    for (size_t j = 0; j < 8; ++j) lane[j] = a[j];
    size_t i = 8;
    for (; i + 8 <= n; i += 8) {
      for (size_t j = 0; j < 8; ++j) lane[j] += a[i + j];
    }
    T sum = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
    for (; i < n; ++i) sum += a[i];
    return sum;
  }
  const size_t half = n / 2 - n / 2 % 8;
  return pairwise_sum(a, half) + pairwise_sum(a + half, n - half);
}

}  // namespace hr
