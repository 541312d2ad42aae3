// Shared by the tests of data/: reading golden JSON, comparing matrices, and small generated pictures.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/io/json.h"
#include "core/philox.h"
#include "data/crops/geometry.h"
#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "tests/support/oracle.h"

namespace hr::test {

inline std::vector<double> numbers(const Json& list) {
  std::vector<double> out;
  for (const Json& value : list.GetArray()) out.push_back(value.GetDouble());
  return out;
}

inline Box box(const Json& list) {
  const auto n = numbers(list);
  return {n.at(0), n.at(1), n.at(2), n.at(3)};
}

// The bound is 1e-9, relative. A coefficient that is only rounding error (1e-17) counts as a zero of its row.
inline void expect_matrix(const Affine& got, const Json& want, const std::string& what) {
  for (int row = 0; row < 2; ++row) {
    const auto w = numbers(want[row]);
    const double* g = got.m + 3 * row;
    const double scale = std::max(std::abs(w[0]), std::abs(w[1]));
    for (int i = 0; i < 3; ++i) {
      const double limit = std::max(1e-9 * std::abs(w[i]), 1e-13 * scale);
      EXPECT_NEAR(g[i], w[i], limit) << what << ": row " << row << ", column " << i;
    }
  }
}

// Returns [K][x, y, v] from a list of pairs and a list of flags, or from COCO's flat list.
inline std::vector<double> joints_of(const Json& pairs, const Json& visible) {
  std::vector<double> out;
  for (unsigned k = 0; k < pairs.Size(); ++k) {
    out.insert(out.end(), {pairs[k][0].GetDouble(), pairs[k][1].GetDouble(), visible[k].GetDouble()});
  }
  return out;
}

inline void expect_same_picture(const Image& got, const Image& want, const std::string& what) {
  ASSERT_EQ(got.width, want.width) << what;
  ASSERT_EQ(got.height, want.height) << what;
  size_t different = 0;
  for (size_t i = 0; i < got.rgb.size(); ++i) different += static_cast<size_t>(got.rgb[i] != want.rgb[i]);
  EXPECT_EQ(different, 0u) << what << ": bytes that differ";
}

// Smooth colours with some noise, so that a JPEG of it is neither trivial nor huge.
inline Image made_picture(int w, int h, uint64_t seed = 1) {
  Image image(w, h);
  Philox random(seed, 0, 0);
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      for (int c = 0; c < 3; ++c) {
        const double wave = 127 + 90 * std::sin(0.05 * (c + 1) * x + 0.03 * y);
        image.at(x, y)[c] = static_cast<uint8_t>(std::clamp(wave + static_cast<double>(random.below(20)), 0.0, 255.0));
      }
    }
  }
  return image;
}

// Returns the message of the Error that `call` throws, or "".
template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace hr::test
