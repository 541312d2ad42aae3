#include "data/crops/letterbox.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/io/safetensors.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

// Bytes that tests/data/files/make_resized.py generates, too.
Image made_picture(int w, int h) {
  Image picture(w, h);
  for (size_t i = 0; i < picture.rgb.size(); ++i) picture.rgb[i] = static_cast<uint8_t>((i * 2654435761U) >> 7);
  return picture;
}

// The sizes are larger, smaller, exactly half (which OpenCV computes in another way), one pixel, and one axis each way.
TEST(Letterbox, ResizedPicturesHaveOpenCVsBytes) {
  const SafetensorsFile golden(test::source_folder() / "tests/data/files/resized.safetensors");
  int pictures = 0;
  for (const std::string& name : golden.names()) {
    int w = 0, h = 0, to_w = 0, to_h = 0;
    ASSERT_EQ(std::sscanf(name.c_str(), "%dx%d_%dx%d", &w, &h, &to_w, &to_h), 4);
    const Image resized = resized_bilinear(made_picture(w, h), to_w, to_h);
    const std::span<const std::byte> bytes = golden.at(name).bytes;
    ASSERT_EQ(bytes.size(), resized.rgb.size());
    EXPECT_EQ(std::memcmp(bytes.data(), resized.rgb.data(), bytes.size()), 0) << name;
    ++pictures;
  }
  EXPECT_EQ(pictures, 6);
}

TEST(Letterbox, AnEqualSizeIsACopy) {
  EXPECT_EQ(resized_bilinear(made_picture(7, 5), 7, 5).rgb, made_picture(7, 5).rgb);
}

TEST(Letterbox, SidesAreRoundedDownAndNeverVanish) {
  const Letterbox wide = letterbox_for(640, 427, 416, 416);
  EXPECT_DOUBLE_EQ(wide.scale, 0.65);
  EXPECT_EQ(wide.inner_w, 416);
  EXPECT_EQ(wide.inner_h, 277);  // 277.55
  const Letterbox line = letterbox_for(4000, 1, 416, 416);
  EXPECT_EQ(line.inner_h, 1);
  EXPECT_THROW(letterbox_for(0, 5, 416, 416), Error);
}

}  // namespace
}  // namespace hr
