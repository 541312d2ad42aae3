#include <gtest/gtest.h>

#include "tests/data/golden.h"
#include "tests/data/jpeg.h"

namespace hr {
namespace {

using test::contains;
using test::error_of;
using test::JpegKind;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// Counts the bytes of `region` that differ from those of the whole picture.
size_t differences(const ImageView& part, const Image& whole, const Region& region) {
  EXPECT_EQ(part.width, whole.width);
  EXPECT_EQ(part.height, whole.height);
  EXPECT_TRUE(part.region.contains(region));
  size_t different = 0;
  for (int y = region.y; y < region.y + region.h; ++y) {
    for (int i = 0; i < 3 * region.w; ++i)
      different += static_cast<size_t>(part.at(region.x, y)[i] != whole.at(region.x, y)[i]);
  }
  return different;
}

// Returns coloured noise, in which every chroma sample matters.
Image noise(int w, int h) {
  Image image(w, h);
  Philox random(7, static_cast<uint64_t>(w), static_cast<uint64_t>(h));
  for (uint8_t& v : image.rgb) v = static_cast<uint8_t>(random.below(256));
  return image;
}

TEST(Decoder, PartsHaveTheBytesOfTheWholePicture) {
  Philox random(1, 2, 3);
  const JpegKind kinds[] = {{.h = 1, .v = 1},
                            {.h = 2, .v = 1},
                            {.h = 2, .v = 2},
                            {.h = 1, .v = 2},
                            {.h = 4, .v = 1},
                            {.h = 4, .v = 2},
                            {.h = 2, .v = 2, .progressive = true},
                            {.h = 2, .v = 1, .progressive = true},
                            {.h = 1, .v = 1, .progressive = true, .restart = 3},
                            {.h = 2, .v = 2, .restart = 5},
                            {.h = 2, .v = 2, .arithmetic = true},
                            {.h = 1, .v = 1, .space = JCS_GRAYSCALE},
                            {.h = 2, .v = 2, .space = JCS_CMYK},
                            {.h = 1, .v = 1, .space = JCS_CMYK}};
  ImageDecoder decoder;
  for (const JpegKind& kind : kinds) {
    for (const auto& [w, h] : {std::pair{131, 97}, {64, 64}, {17, 200}, {300, 15}, {3, 2}}) {
      const std::string jpeg = test::made_jpeg(noise(w, h), kind);
      const Image whole = decode_image(bytes_of(jpeg), "whole.jpg");
      const std::string what = fmt::format("{} x {}, sampling {} x {}{}{}, space {}", w, h, kind.h, kind.v,
                                           kind.progressive ? ", progressive" : "", kind.restart ? ", restarts" : "",
                                           static_cast<int>(kind.space));
      size_t smaller = 0;
      for (int i = 0; i < 60; ++i) {
        Region region;
        region.x = static_cast<int>(random.below(w));
        region.y = static_cast<int>(random.below(h));
        region.w = 1 + static_cast<int>(random.below(i % 3 == 0 ? w - region.x : std::min(w - region.x, 24)));
        region.h = 1 + static_cast<int>(random.below(i % 3 == 0 ? h - region.y : std::min(h - region.y, 24)));
        decoder.open(bytes_of(jpeg), "part.jpg");
        const ImageView part = decoder.decode(region);
        ASSERT_EQ(differences(part, whole, region), 0u)
            << what << ": " << region.w << " x " << region.h << " at " << region.x << ", " << region.y;
        smaller += static_cast<size_t>(part.region.area() < whole.width * whole.height);
      }
      if (w > 100 && h > 90) {
        EXPECT_GT(smaller, 30u) << what;  // otherwise the test would show nothing
      }
    }
  }
}

TEST(Decoder, OneDecoderForManyPictures) {
  ImageDecoder decoder;
  const auto folder = test::temporary_folder();
  const Image a = test::made_picture(90, 40, 1), b = test::made_picture(33, 70, 2);
  write_image(folder / "b.png", b);
  const std::string jpeg = test::made_jpeg(a, {}), png = read_file(folder / "b.png");
  const Image whole = decode_image(bytes_of(jpeg), "a");
  for (int i = 0; i < 3; ++i) {
    decoder.open(bytes_of(jpeg), "a");
    EXPECT_EQ(differences(decoder.decode({40, 10, 20, 20}), whole, {40, 10, 20, 20}), 0u);
    EXPECT_TRUE(contains(error_of([&] { decoder.open(bytes_of("nothing"), "c"); }), "c: not a picture"));
    EXPECT_TRUE(contains(error_of([&] { decoder.decode({0, 0, 1, 1}); }), "without open"));
    EXPECT_TRUE(contains(error_of([&] { decoder.open(bytes_of("\xff\xd8\xff"), "d"); }), "d: "));
    decoder.open(bytes_of(png), "b");
    EXPECT_EQ(differences(decoder.decode({1, 2, 3, 4}), b, {0, 0, 33, 70}), 0u);
    decoder.open(bytes_of(jpeg), "a");  // opened, but not decoded
  }
  decoder.open(bytes_of(jpeg), "a");
  EXPECT_TRUE(contains(error_of([&] { decoder.decode({80, 0, 20, 10}); }), "beyond the picture of 90 x 40"));
}

// libjpeg keeps the tables of one picture for the next one of the same object.
TEST(Decoder, TablesThatAreMissingAreNotThoseOfThePictureBefore) {
  const Image image = noise(40, 30);
  const std::string whole = test::made_jpeg(image, {.quality = 60});
  std::string without = whole.substr(0, 2);  // All segments but those of the quantisation tables.
  for (size_t at = 2; at < whole.size();) {
    const auto byte = [&](size_t k) { return static_cast<size_t>(static_cast<uint8_t>(whole[at + k])); };
    const bool data = byte(1) == 0xDA;  // From here on to the end.
    const size_t size = data ? whole.size() - at : 2 + (byte(2) << 8) + byte(3);
    if (byte(1) != 0xDB) without += whole.substr(at, size);
    at += size;
  }
  ASSERT_LT(without.size(), whole.size());
  ImageDecoder decoder;
  for (int round = 0; round < 2; ++round) {
    EXPECT_THROW(
        {
          decoder.open(bytes_of(without), "without");
          decoder.decode({0, 0, 40, 30});
        },
        Error)
        << round;
    decoder.open(bytes_of(whole), "whole");
    decoder.decode({0, 0, 40, 30});
  }
}

TEST(Decoder, ACutFileIsNoticedWhateverPartIsAsked) {
  const std::string jpeg = test::made_jpeg(test::made_picture(200, 200), {});
  ImageDecoder decoder;
  for (const size_t keep : {jpeg.size() - 2, jpeg.size() - 100, jpeg.size() / 2}) {
    const std::string cut = jpeg.substr(0, keep);
    EXPECT_FALSE(decoder.open(bytes_of(cut), "cut.jpg").whole);
    if (keep + 2 < jpeg.size()) {
      EXPECT_TRUE(contains(error_of([&] { decoder.decode({0, 0, 8, 8}); }), "cut.jpg: truncated")) << keep;
    }
  }
  EXPECT_TRUE(decoder.open(bytes_of(jpeg), "whole.jpg").whole);
  EXPECT_TRUE(decoder.open(bytes_of(jpeg + "camera's note"), "noted.jpg").whole);
}

const JpegKind kinds_of_cut_files[] = {{.h = 2, .v = 2},
                                       {.h = 1, .v = 1},
                                       {.h = 2, .v = 2, .restart = 3},
                                       {.h = 2, .v = 2, .progressive = true},
                                       {.h = 2, .v = 2, .arithmetic = true},
                                       {.h = 1, .v = 1, .space = JCS_GRAYSCALE},
                                       {.h = 2, .v = 1, .space = JCS_CMYK}};

// The reference's reader accepts such files, and their pixels are correct.
TEST(Decoder, OnlyTheEndMarkerMissingIsNoDamage) {
  ImageDecoder decoder;
  for (const JpegKind& kind : kinds_of_cut_files) {
    if (kind.arithmetic) continue;  // its decoder reads on and cannot tell
    for (const auto& [w, h] : {std::pair{131, 97}, {64, 64}, {5, 3}}) {
      const std::string jpeg = test::made_jpeg(noise(w, h), kind), cut = jpeg.substr(0, jpeg.size() - 2);
      ASSERT_EQ(jpeg.substr(jpeg.size() - 2), "\xff\xd9");
      const Image whole = decode_image(bytes_of(jpeg), "whole.jpg");
      EXPECT_EQ(decode_image(bytes_of(cut), "cut.jpg").rgb, whole.rgb) << w << " x " << h;
      decoder.open(bytes_of(cut), "cut.jpg");
      EXPECT_EQ(differences(decoder.decode({1, 1, 2, 2}), whole, {1, 1, 2, 2}), 0u);
      EXPECT_EQ(decoder.damage(), "");
      // One of the two bytes of the marker is there.
      EXPECT_EQ(decode_image(bytes_of(jpeg.substr(0, jpeg.size() - 1)), "cut.jpg").rgb, whole.rgb);
    }
  }
}

TEST(Decoder, ACutFileIsNoticedWhereverItIsCut) {
  for (const JpegKind& kind : kinds_of_cut_files) {
    const std::string jpeg = test::made_jpeg(noise(131, 97), kind);
    const Image whole = decode_image(bytes_of(jpeg), "whole.jpg");
    for (size_t keep = 1; keep < jpeg.size(); keep += keep + 200 < jpeg.size() ? 37 : 1) {
      Image image;
      const std::string why = error_of([&] { image = decode_image(bytes_of(jpeg.substr(0, keep)), "cut.jpg"); });
      if (why.empty()) {  // the very last bytes may contain only the bits that fill them up
        EXPECT_GE(keep + 8, jpeg.size());
        EXPECT_TRUE(image.rgb == whole.rgb) << keep << " of " << jpeg.size();
      } else {
        EXPECT_TRUE(contains(why, "cut.jpg: ")) << why;
      }
    }
  }
  // If the file ends between two scans, only the missing scans show that it was cut off.
  const std::string scans = test::made_jpeg(noise(64, 64), {.progressive = true});
  for (size_t at = scans.find("\xff\xda") + 2; (at = scans.find("\xff\xda", at)) != std::string::npos; at += 2) {
    const size_t tables = scans.rfind("\xff\xc4", at);
    const std::string why = error_of([&] { decode_image(bytes_of(scans.substr(0, tables)), "scans.jpg"); });
    EXPECT_TRUE(contains(why, "scans.jpg: truncated JPEG")) << why;
  }
}

TEST(Decoder, DamagedDataAreReadAndTheReadersWarningIsKept) {
  const std::string jpeg = test::made_jpeg(noise(64, 64), {});
  const size_t scan = jpeg.rfind("\xff\xda");
  std::string damaged = jpeg;
  for (size_t i = 0; i < 64; ++i) damaged[scan + 600 + i] = '\xfe';
  std::string damage = "something";
  EXPECT_EQ(decode_image(bytes_of(jpeg), "good.jpg", Orientation::ignore, default_max_pixels, &damage).width, 64);
  EXPECT_EQ(damage, "");
  EXPECT_EQ(decode_image(bytes_of(damaged), "bad.jpg", Orientation::ignore, default_max_pixels, &damage).width, 64);
  EXPECT_TRUE(contains(damage, "Corrupt JPEG data: ")) << damage;
  // There are data that belong to no pixel.
  const std::string more = jpeg.substr(0, jpeg.size() - 2) + std::string(40, 'x') + jpeg.substr(jpeg.size() - 2);
  EXPECT_EQ(decode_image(bytes_of(more), "more.jpg", Orientation::ignore, default_max_pixels, &damage).rgb,
            decode_image(bytes_of(jpeg), "good.jpg").rgb);
  EXPECT_TRUE(contains(damage, "extraneous bytes before marker 0xd9")) << damage;
  // There is a second scan, which libjpeg does not expect in such a file. All pixels are there.
  const std::string twice = jpeg.substr(0, jpeg.size() - 2) + jpeg.substr(scan);
  EXPECT_EQ(decode_image(bytes_of(twice), "twice.jpg", Orientation::ignore, default_max_pixels, &damage).rgb,
            decode_image(bytes_of(jpeg), "good.jpg").rgb);
  EXPECT_NE(damage, "");
  // A decoder reports damage of the current picture only, and for a part of it only what lies before the end of that
  // part.
  ImageDecoder decoder;
  decoder.open(bytes_of(damaged), "bad.jpg");
  decoder.decode({0, 0, 64, 64});
  EXPECT_NE(decoder.damage(), "");
  decoder.open(bytes_of(damaged), "bad.jpg");
  EXPECT_EQ(decoder.damage(), "");
  decoder.decode({0, 0, 64, 4});
  EXPECT_EQ(decoder.damage(), "");
}

TEST(Decoder, OtherPeoplesDamagedFiles) {
  const fs::path cases = test::source_folder() / ".." / "shared" / "cases" / "pictures";
  if (!fs::exists(cases)) GTEST_SKIP() << "no such folder: " << cases.string();
  std::string damage;
  const Image clean = read_image(cases / "clean.jpg", Orientation::ignore, &damage);
  EXPECT_EQ(damage, "");
  EXPECT_EQ(read_image(cases / "no_eoi.jpg", Orientation::ignore, &damage).rgb, clean.rgb);
  EXPECT_EQ(damage, "");
  // One byte of this file was changed so that all codes stay valid and the last one ends at the same bit. No reader of
  // the format can notice this, and it is read as libjpeg reads it everywhere.
  EXPECT_NE(read_image(cases / "bad_huffman.jpg", Orientation::ignore, &damage).rgb, clean.rgb);
}

TEST(Decoder, OrientationIsAppliedOnlyWhereAskedFor) {
  const Image image = test::made_picture(24, 16);
  const std::string jpeg = test::made_jpeg(image, {.h = 1, .v = 1});
  const Image plain = decode_image(bytes_of(jpeg), "plain");
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const bool big_endian : {false, true}) {
      const std::string tagged = test::with_orientation(jpeg, orientation, big_endian);
      test::expect_same_picture(decode_image(bytes_of(tagged), "t"), plain, "ignored");
      const Image turned = decode_image(bytes_of(tagged), "t", Orientation::apply);
      const bool side = orientation >= 5;
      ASSERT_EQ(turned.width, side ? 16 : 24);
      const PictureInfo info = probe_image(bytes_of(tagged), "t", Orientation::apply);
      EXPECT_EQ(info.width, turned.width);
      EXPECT_EQ(info.height, turned.height);
      EXPECT_EQ(probe_image(bytes_of(tagged), "t").orientation, orientation);
      // The places of the first and the second pixel of the file's first row (TIFF 6 defines on which side row 0 and
      // column 0 are).
      const int w = turned.width, h = turned.height;
      const int first[8][2] = {{0, 0}, {w - 1, 0}, {w - 1, h - 1}, {0, h - 1},
                               {0, 0}, {w - 1, 0}, {w - 1, h - 1}, {0, h - 1}};
      const int step[8][2] = {{1, 0}, {-1, 0}, {-1, 0}, {1, 0}, {0, 1}, {0, 1}, {0, -1}, {0, -1}};
      for (int i = 0; i < 24; ++i) {
        const int* f = first[orientation - 1];
        const int* s = step[orientation - 1];
        EXPECT_EQ(std::memcmp(turned.at(f[0] + i * s[0], f[1] + i * s[1]), plain.at(i, 0), 3), 0) << orientation;
      }
      EXPECT_FALSE(turned.rgb == plain.rgb && orientation != 1);
    }
  }
  // A picture is not refused because of broken tags.
  const std::string tagged = test::with_orientation(jpeg, 6, true);
  for (size_t at = 4; at < 60; ++at) {
    std::string damaged = tagged;
    damaged[at] = '\x7f';
    error_of([&] { decode_image(bytes_of(damaged), "t", Orientation::apply); });
  }
  EXPECT_EQ(decode_image(bytes_of(test::with_orientation(jpeg, 99, true)), "t", Orientation::apply).rgb, plain.rgb);
}

TEST(Decoder, ScansWithoutEndAreRefused) {
  // A progressive file whose last scan is repeated a thousand times.
  const std::string jpeg = test::made_jpeg(test::made_picture(64, 64), {.progressive = true});
  const size_t scan = jpeg.rfind("\xff\xda"), end = jpeg.rfind("\xff\xd9");
  std::string bomb = jpeg.substr(0, end);
  for (int i = 0; i < 1000; ++i) bomb += jpeg.substr(scan, end - scan);
  bomb += jpeg.substr(end);
  EXPECT_TRUE(contains(error_of([&] { decode_image(bytes_of(bomb), "scans.jpg"); }),
                       "scans.jpg: not a readable JPEG: more than 500 scans"));
}

TEST(Decoder, TheLimitOfPixelsIsTheCallers) {
  const std::string jpeg = test::made_jpeg(test::made_picture(64, 64), {});
  EXPECT_EQ(probe_image(bytes_of(jpeg), "a", Orientation::ignore, 4096).width, 64);
  EXPECT_TRUE(contains(error_of([&] { probe_image(bytes_of(jpeg), "a.jpg", Orientation::ignore, 4095); }),
                       "a.jpg: 64 x 64 pixels, more than the limit of 4095"));
}

TEST(Decoder, GoldenPhotographs) {
  HR_NEEDS_ORACLE("coco_sample/000000000785.jpg");
  ImageDecoder decoder;
  Philox random(5, 0, 0);
  for (const char* name :
       {"000000000785", "000000040083", "000000196141", "000000197388", "mpii_005808361", "mpii_051423444"}) {
    const std::string jpeg = read_file(test::oracle(fmt::format("coco_sample/{}.jpg", name)));
    const Image whole = decode_image(bytes_of(jpeg), name);
    for (int i = 0; i < 10; ++i) {
      Region region;
      region.x = static_cast<int>(random.below(whole.width));
      region.y = static_cast<int>(random.below(whole.height));
      region.w = 1 + static_cast<int>(random.below(whole.width - region.x));
      region.h = 1 + static_cast<int>(random.below(whole.height - region.y));
      decoder.open(bytes_of(jpeg), name);
      ASSERT_EQ(differences(decoder.decode(region), whole, region), 0u) << name;
    }
  }
}

}  // namespace
}  // namespace hr
