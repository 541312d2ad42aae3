#include "data/formats/image.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <jpeglib.h>  // needs stdio's FILE first

#include "tests/data/golden.h"

namespace hr {
namespace {

using test::contains;
using test::error_of;

TEST(Image, PngKeepsEveryByte) {
  const auto folder = test::temporary_folder();
  for (const auto& [w, h] : {std::pair{1, 1}, {7, 5}, {64, 3}}) {
    const Image image = test::made_picture(w, h);
    write_image(folder / "a.PNG", image);
    test::expect_same_picture(read_image(folder / "a.PNG"), image, "png");
  }
}

TEST(Image, JpegComesBackNearlyTheSame) {
  const auto folder = test::temporary_folder();
  Image image(101, 67);  // smooth, so that only quantisation remains
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      image.at(x, y)[0] = static_cast<uint8_t>(50 + x);
      image.at(x, y)[1] = static_cast<uint8_t>(60 + y);
      image.at(x, y)[2] = 90;
    }
  }
  write_image(folder / "a.jpg", image, 95);
  const Image back = read_image(folder / "a.jpg");
  ASSERT_EQ(back.width, image.width);
  ASSERT_EQ(back.height, image.height);
  int worst = 0;
  for (size_t i = 0; i < image.rgb.size(); ++i) worst = std::max(worst, std::abs(int{back.rgb[i]} - int{image.rgb[i]}));
  EXPECT_LE(worst, 6);
}

TEST(Image, OtherFormatsAndGreyBecomeRgb) {
  // A PNM of 2 x 1 pixels is the shortest picture that can be written by hand: grey, then colour.
  const std::string grey("P5 2 1 255\n\x10\xf0", 13), colour("P6 1 1 255\n\x01\x02\x03", 14);
  const Image a = decode_image(std::as_bytes(std::span(grey)), "grey.pgm");
  EXPECT_EQ(a.rgb, (std::vector<uint8_t>{16, 16, 16, 240, 240, 240}));
  const Image b = decode_image(std::as_bytes(std::span(colour)), "colour.ppm");
  EXPECT_EQ(b.rgb, (std::vector<uint8_t>{1, 2, 3}));
}

// Writes a 16 x 16 JPEG of one colour with any number of components. libjpeg ends the program if it fails.
std::string flat_jpeg(const std::vector<uint8_t>& colour, J_COLOR_SPACE input, J_COLOR_SPACE stored) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &data, &size);
  info.image_width = info.image_height = 16;
  info.input_components = static_cast<int>(colour.size());
  info.in_color_space = input;
  jpeg_set_defaults(&info);
  jpeg_set_colorspace(&info, stored);
  jpeg_set_quality(&info, 100, TRUE);
  jpeg_start_compress(&info, TRUE);
  std::vector<uint8_t> row;
  for (int x = 0; x < 16; ++x) row.insert(row.end(), colour.begin(), colour.end());
  uint8_t* rows = row.data();
  while (info.next_scanline < 16) jpeg_write_scanlines(&info, &rows, 1);
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string bytes(reinterpret_cast<const char*>(data), size);
  std::free(data);  // NOLINT: libjpeg's malloc
  return bytes;
}

TEST(Image, GreyAndCmykJpegsBecomeRgb) {
  const auto expect_colour = [](const std::string& jpeg, int r, int g, int b) {
    const Image image = decode_image(std::as_bytes(std::span(jpeg)), "flat.jpg");
    ASSERT_EQ(image.width, 16);
    EXPECT_NEAR(image.at(7, 9)[0], r, 2);
    EXPECT_NEAR(image.at(7, 9)[1], g, 2);
    EXPECT_NEAR(image.at(7, 9)[2], b, 2);
  };
  expect_colour(flat_jpeg({77}, JCS_GRAYSCALE, JCS_GRAYSCALE), 77, 77, 77);
  // Inks are stored inverted: 255 is none. Red is no cyan, some magenta and yellow, and black that lets half of the
  // light through.
  expect_colour(flat_jpeg({255, 51, 102, 128}, JCS_CMYK, JCS_CMYK), 128, 128 * 51 / 255, 128 * 102 / 255);
  expect_colour(flat_jpeg({255, 51, 102, 128}, JCS_CMYK, JCS_YCCK), 128, 128 * 51 / 255, 128 * 102 / 255);
}

TEST(Image, TruncatedFilesAreErrorsAtEveryLength) {
  const auto folder = test::temporary_folder();
  const Image image = test::made_picture(96, 80);
  for (const char* name : {"a.jpg", "a.png"}) {
    write_image(folder / name, image);
    const std::string whole = read_file(folder / name);
    for (size_t keep = 1; keep + 40 < whole.size(); keep += std::max<size_t>(1, whole.size() / 61)) {
      write_file(folder / "cut", whole.substr(0, keep));
      const std::string message = error_of([&] { read_image(folder / "cut"); });
      EXPECT_TRUE(contains(message, (folder / "cut").string()))
          << name << " cut to " << keep << ": '" << message << "'";
    }
    write_file(folder / "cut", whole.substr(0, whole.size() / 2));
    EXPECT_TRUE(contains(error_of([&] { read_image(folder / "cut"); }), "truncated")) << name;
  }
  // These formats have no end mark, so the pixels are missing.
  const std::string pnm = "P6 40 40 255\n" + std::string(1000, 'x');
  EXPECT_TRUE(contains(error_of([&] { decode_image(std::as_bytes(std::span(pnm)), "half.ppm"); }), "half.ppm"));
}

TEST(Image, WhatIsNotAPictureIsNamed) {
  const auto folder = test::temporary_folder();
  EXPECT_TRUE(contains(error_of([&] { read_image(folder / "missing.jpg"); }), "missing.jpg"));
  write_file(folder / "zero.jpg", "");
  EXPECT_TRUE(contains(error_of([&] { read_image(folder / "zero.jpg"); }), "zero.jpg: empty file"));
  write_file(folder / "text.jpg", "id,name,score\n1,nose,0.5\n" + std::string(3000, 'a'));
  EXPECT_TRUE(contains(error_of([&] { read_image(folder / "text.jpg"); }), "text.jpg: not a picture"));
  write_file(folder / "start.jpg", "\xff\xd8\xff" + std::string(500, 'a'));
  EXPECT_TRUE(contains(error_of([&] { read_image(folder / "start.jpg"); }), "start.jpg"));
  EXPECT_TRUE(contains(error_of([&] { read_image(folder); }), folder.string()));
  EXPECT_TRUE(contains(error_of([&] { write_image(folder / "a.tif", Image(2, 2)); }), ".tif"));
  EXPECT_TRUE(contains(error_of([&] { write_image(folder / "a.png", Image()); }), "a.png"));
  EXPECT_FALSE(fs::exists(folder / "a.tif"));
}

// The length of a chunk is not trusted. With 256 MiB of address space left, a claim of 1.4 GB is reported as a
// truncated file before any memory is allocated for it.
TEST(Image, AChunkOfAPngThatClaimsMoreThanTheFileTakesNoMemory) {
  const auto folder = test::temporary_folder();
  write_image(folder / "a.png", test::made_picture(9, 6));
  std::string png = read_file(folder / "a.png");
  const size_t data = png.find("IDAT");
  ASSERT_NE(data, std::string::npos);
  png.replace(data - 4, 4, "\x57\x00\x00\x00", 4);
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const rlimit tight{pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) + (size_t{256} << 20), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &tight), 0);
  const std::string why = error_of([&] { decode_image(std::as_bytes(std::span(png)), "a.png"); });
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_TRUE(contains(why, "a.png: truncated picture")) << why;
}

// Colours that the palette of a BMP lacks would be read from uninitialised memory.
TEST(Image, ABmpNeedsItsWholePalette) {
  const auto little = [](unsigned value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * i);
    return out;
  };
  const auto bmp = [&](const std::string& palette) {  // 2 x 1 pixels of one bit: colours 0 and 1
    const auto pixels = static_cast<unsigned>(54 + palette.size());
    return "BM" + little(pixels + 4, 4) + little(0, 4) + little(pixels, 4) + little(40, 4) + little(2, 4) +
           little(1, 4) + little(1, 2) + little(1, 2) + std::string(24, '\0') + palette + "\x40" + std::string(3, '\0');
  };
  const std::string whole = bmp(std::string("\1\2\3\0\4\5\6\0", 8)), half = bmp(std::string("\1\2\3\0", 4));
  EXPECT_EQ(decode_image(std::as_bytes(std::span(whole)), "whole.bmp").rgb, (std::vector<uint8_t>{3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(error_of([&] { decode_image(std::as_bytes(std::span(half)), "half.bmp"); }),
            "half.bmp: a BMP of 1 bits with a palette of 1 colours, expected 2; save it as PNG");
}

// When stb makes three channels of one, it mistakes the 16-bit samples of a PNM for 8-bit ones and reads past their
// end. It uses the wrong byte of each in any case.
TEST(Image, APnmOf16BitsIsRefusedInOneSentence) {
  for (const std::string kind : {"P5", "P6"}) {
    const std::string pnm = kind + " 24 18 65535\n" + std::string(size_t{24} * 18 * 2 * (kind == "P5" ? 1 : 3), '\x40');
    const std::string why = error_of([&] { decode_image(std::as_bytes(std::span(pnm)), "deep.pnm"); });
    EXPECT_EQ(why, "deep.pnm: a PNM with 16 bits per channel; save it with 8") << kind;
  }
}

TEST(Image, AHugeSizeIsRefusedBeforeAnyMemoryIsTaken) {
  const std::string pnm = "P6 60000 60000 255\n" + std::string(100, 'x');
  EXPECT_TRUE(contains(error_of([&] { decode_image(std::as_bytes(std::span(pnm)), "bomb.ppm"); }), "268435456"));
  // A JPEG whose frame header claims 65500 x 65500.
  const auto folder = test::temporary_folder();
  write_image(folder / "a.jpg", test::made_picture(16, 16));
  std::string jpeg = read_file(folder / "a.jpg");
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  std::memcpy(jpeg.data() + frame + 5, "\xff\xdc\xff\xdc", 4);
  EXPECT_TRUE(contains(error_of([&] { decode_image(std::as_bytes(std::span(jpeg)), "bomb.jpg"); }), "268435456"));
}

// A BMP written by hand: 14 + 40 bytes of header, rows from the bottom, blue first.
std::string made_bmp(const Image& image) {
  const auto stride = static_cast<uint32_t>((image.width * 3 + 3) / 4 * 4);
  std::string bytes(54 + static_cast<size_t>(stride) * image.height, '\0');
  const auto put = [&](size_t at, uint32_t value) { std::memcpy(bytes.data() + at, &value, 4); };
  bytes.replace(0, 2, "BM");
  put(2, static_cast<uint32_t>(bytes.size()));
  put(10, 54);
  put(14, 40);
  put(18, static_cast<uint32_t>(image.width));
  put(22, static_cast<uint32_t>(image.height));
  put(26, 1 | 24 << 16);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        bytes[54 + (image.height - 1 - y) * stride + 3 * x + c] = static_cast<char>(image.at(x, y)[2 - c]);
      }
    }
  }
  return bytes;
}

TEST(Image, BmpUnderAnyName) {
  const Image image = test::made_picture(31, 22);
  std::string bytes = made_bmp(image);
  test::expect_same_picture(decode_image(std::as_bytes(std::span(bytes)), "photo.jpg"), image, "bmp");
  bytes.resize(bytes.size() - 40);
  EXPECT_TRUE(
      contains(error_of([&] { decode_image(std::as_bytes(std::span(bytes)), "half.bmp"); }), "half.bmp: truncated"));
}

TEST(Image, DamagedBytesNeverCrash) {
  const auto folder = test::temporary_folder();
  for (const char* name : {"a.jpg", "a.png", "a.bmp"}) {
    const Image image = test::made_picture(48, 40);
    if (fs::path(name).extension() == ".bmp") {
      write_file(folder / name, made_bmp(image));
    } else {
      write_image(folder / name, image);
    }
    const std::string whole = read_file(folder / name);
    Philox random(7, 0, 0);
    for (int round = 0; round < 150; ++round) {
      std::string damaged = whole;
      for (int i = 0; i < 3; ++i)
        damaged[random.below(round % 2 == 0 ? damaged.size() : 64)] = static_cast<char>(random.below(256));
      error_of([&] { decode_image(std::as_bytes(std::span(damaged)), "damaged"); });
    }
  }
}

TEST(Image, MirroredTwiceIsTheSame) {
  const Image image = test::made_picture(7, 5);
  const Image once = mirrored(image);
  for (int c = 0; c < 3; ++c) EXPECT_EQ(once.at(0, 2)[c], image.at(6, 2)[c]);
  EXPECT_EQ(mirrored(once).rgb, image.rgb);
}

TEST(Image, NormalizeFollowsTheChannelIndexAlsoForBgr) {
  Image image(1, 1);
  image.rgb = {0, 128, 255};
  std::vector<float> out(3);
  normalize(image, out);
  EXPECT_NEAR(out[0], (0 - 0.485) / 0.229, 1e-6);
  EXPECT_NEAR(out[1], (128 / 255.0 - 0.456) / 0.224, 1e-6);
  EXPECT_NEAR(out[2], (1 - 0.406) / 0.225, 1e-6);
  normalize(image, out, true);
  EXPECT_NEAR(out[0], (1 - 0.485) / 0.229, 1e-6);
  EXPECT_NEAR(out[2], (0 - 0.406) / 0.225, 1e-6);
}

TEST(Image, JpegDecodesToTheReferencesBytes) {
  HR_NEEDS_ORACLE("coco_sample/000000000785.jpg");
  for (const std::string name : {"000000000785", "000000040083"}) {
    test::expect_same_picture(read_image(test::oracle("coco_sample/" + name + ".jpg")),
                              read_image(test::oracle("coco_sample/" + name + ".decoded.png")), name);
  }
}

TEST(Image, ARealJpegCutInHalfIsAnError) {
  HR_NEEDS_ORACLE("coco_sample/mpii_005808361.jpg");
  for (const char* name :
       {"coco_sample/000000000785.jpg", "coco_sample/mpii_005808361.jpg"}) {  // baseline, progressive
    std::string bytes = read_file(test::oracle(name));
    bytes.resize(bytes.size() / 2);
    EXPECT_TRUE(
        contains(error_of([&] { decode_image(std::as_bytes(std::span(bytes)), "half.jpg"); }), "half.jpg: truncated"));
  }
}

}  // namespace
}  // namespace hr
