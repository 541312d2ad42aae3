// A small weight file and its values, as the tests of the reader and of the writer share them.
#pragma once
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/io/array.h"
#include "tests/support/pth_builder.h"

namespace hr::test {

inline std::vector<std::byte> bits(const ArrayView& a) {
  std::vector<std::byte> out(static_cast<size_t>(a.numel()) * size_of(a.dtype));
  a.copy_to(out);
  return out;
}

inline std::string floats(std::initializer_list<float> values) {
  std::string out(values.size() * 4, '\0');
  std::memcpy(out.data(), values.begin(), out.size());
  return out;
}
inline const std::string kTwelve = floats({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
inline const std::vector<float> kCounting{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
// {"w": 0 to 11 as [4, 3]}
inline const std::string kW =
    pickled::dict({{"w", pickled::tensor(pickled::storage("FloatStorage", "0", 12), 0, {4, 3}, {3, 1})}});

}  // namespace hr::test
