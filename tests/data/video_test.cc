// Tests videos that are written and read back, and videos that are damaged, rotated or cut off.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "tests/data/made_video.h"
#include "tests/support/oracle.h"
#include "tests/support/remux.h"
#include "tests/support/sound.h"

namespace hr {
namespace {

using test::index_first;
using test::picture;
using test::read_video;
using test::steady;
using test::write_video;

class Video : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_video()) GTEST_SKIP() << "built without FFmpeg";
  }
  const fs::path folder = test::temporary_folder();
};

// The largest difference in the middle of the four quarters, where no edge blurs.
int difference(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height) return 1000;
  int most = 0;
  for (const int qy : {1, 3}) {
    for (const int qx : {1, 3}) {
      const int x = a.width * qx / 4, y = a.height * qy / 4;
      for (int c = 0; c < 3; ++c) most = std::max(most, std::abs(a.at(x, y)[c] - b.at(x, y)[c]));
    }
  }
  return most;
}

TEST_F(Video, ComesBackFrameForFrame) {
  for (const char* codec : {"", "mpeg4"}) {
    write_video(folder / "a.mp4", 64, 48, steady(30), {.codec = codec, .quality = 10});
    EXPECT_FALSE(fs::exists(folder / "a.mp4.part"));
    VideoReader video((folder / "a.mp4").string());
    EXPECT_EQ(video.info().width, 64);
    EXPECT_EQ(video.info().height, 48);
    EXPECT_EQ(video.info().frames, 30);
    EXPECT_NEAR(video.info().fps, 25, 0.5);
    const std::vector<VideoFrame> frames = read_video(video);
    ASSERT_EQ(frames.size(), 30U);
    for (int i = 0; i < 30; ++i) {
      EXPECT_EQ(frames[i].index, i);
      EXPECT_NEAR(frames[i].seconds, i / 25.0, 1e-5) << codec;
      EXPECT_LE(difference(frames[i].image, picture(64, 48, i)), 6) << i;
    }
    EXPECT_EQ(video.damaged(), 0) << video.damage();
  }
}

TEST_F(Video, KeepsUnevenTimes) {
  const std::vector<double> times{0, 0.04, 0.05, 0.5, 0.51, 3, 3.0333, 60.25};
  for (const char* codec : {"", "mpeg4"}) {
    write_video(folder / "a.mp4", 32, 32, times, {.codec = codec});
    VideoReader video((folder / "a.mp4").string());
    const std::vector<VideoFrame> frames = read_video(video);
    ASSERT_EQ(frames.size(), times.size());
    for (size_t i = 0; i < times.size(); ++i) EXPECT_NEAR(frames[i].seconds, times[i], 1.0 / 60000) << codec << i;
  }
}

TEST_F(Video, TimesThatDoNotIncreaseStillGiveEveryFrame) {
  write_video(folder / "a.mp4", 32, 32, {0, 1, 1, 0.5, 2});
  VideoReader video((folder / "a.mp4").string());
  const std::vector<VideoFrame> frames = read_video(video);
  ASSERT_EQ(frames.size(), 5U);
  for (size_t i = 1; i < 5; ++i) EXPECT_GT(frames[i].seconds, frames[i - 1].seconds);
}

// The matrix in the track's header is what a phone writes when it is held upright.
TEST_F(Video, IsReadAsItIsSeen) {
  write_video(folder / "a.mp4", 64, 48, steady(3), {.quality = 10});
  const std::string bytes = read_file(folder / "a.mp4");
  const size_t matrix = bytes.find("tkhd") + 4 + 4 + 20 + 8 + 8;
  struct Case {
    std::array<int32_t, 4> abcd;
    int orientation;
  };
  const Image plain = picture(64, 48);
  for (const auto& [abcd, orientation] : {Case{{0, 1, -1, 0}, 6}, Case{{-1, 0, 0, -1}, 3}, Case{{0, -1, 1, 0}, 8},
                                          Case{{-1, 0, 0, 1}, 2}, Case{{1, 0, 0, 1}, 1}}) {
    std::string turned = bytes;
    for (const int i : {0, 1, 2, 3}) {
      const auto v = static_cast<uint32_t>(abcd[i] * 65536);
      for (int k = 0; k < 4; ++k)
        turned[matrix + (i / 2) * 12 + (i % 2) * 4 + k] = static_cast<char>(v >> (24 - 8 * k));
    }
    write_file(folder / "turned.mp4", turned);
    VideoReader video((folder / "turned.mp4").string());
    EXPECT_EQ(video.info().orientation, orientation);
    VideoFrame frame;
    ASSERT_TRUE(video.next(frame));
    Image want = orientation >= 5 ? Image(48, 64) : Image(64, 48);
    for (int y = 0; y < want.height; ++y) {
      for (int x = 0; x < want.width; ++x) {
        int sx = x, sy = y;
        if (orientation == 6) sx = y, sy = 47 - x;
        if (orientation == 8) sx = 63 - y, sy = x;
        if (orientation == 3) sx = 63 - x, sy = 47 - y;
        if (orientation == 2) sx = 63 - x;
        std::memcpy(want.at(x, y), plain.at(sx, sy), 3);
      }
    }
    EXPECT_EQ(frame.image.width, video.info().width);
    EXPECT_LE(difference(frame.image, want), 6) << orientation;
  }
}

TEST_F(Video, OddSizesAndOneFrame) {
  for (const auto& [w, h] : {std::pair{1, 1}, {17, 4000}, {35, 21}, {2, 3}}) {
    // Of one colour: four neighbours share their colour in the file.
    Image flat(w, h);
    for (size_t i = 0; i < flat.rgb.size(); ++i) flat.rgb[i] = std::array<uint8_t, 3>{90, 120, 60}[i % 3];
    VideoWriter writer(folder / "a.mp4", w, h);
    writer.write(flat, 0);
    writer.finish();
    VideoReader video((folder / "a.mp4").string());
    const std::vector<VideoFrame> frames = read_video(video);
    ASSERT_EQ(frames.size(), 1U) << w;
    EXPECT_EQ(frames[0].image.width, w + w % 2);
    EXPECT_EQ(frames[0].image.height, h + h % 2);
    const uint8_t* last = frames[0].image.at(w + w % 2 - 1, h + h % 2 - 1);
    EXPECT_NEAR(last[0], 90, 4) << w;
    EXPECT_NEAR(last[1], 120, 4) << w;
    EXPECT_NEAR(last[2], 60, 4) << w;
  }
  EXPECT_THROW(VideoWriter(folder / "b.mp4", 0, 10), Error);
  EXPECT_THROW(VideoWriter(folder / "b.mp4", 20000, 10), Error);
  EXPECT_THROW(VideoWriter(folder / "missing" / "b.mp4", 32, 32), Error);
  VideoWriter nothing(folder / "c.mp4", 32, 32);
  nothing.finish();
  EXPECT_FALSE(fs::exists(folder / "c.mp4"));
  EXPECT_FALSE(fs::exists(folder / "c.mp4.part"));
}

TEST_F(Video, APictureOfAnotherSizeIsScaled) {
  VideoWriter video(folder / "a.mp4", 64, 48, {.quality = 10});
  video.write(picture(64, 48), 0);
  video.write(picture(200, 100), 0.1);
  video.finish();
  VideoReader back((folder / "a.mp4").string());
  const std::vector<VideoFrame> frames = read_video(back);
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_LE(difference(frames[1].image, picture(64, 48)), 8);
}

TEST_F(Video, WhatIsNotThereIsWrittenWhenTheWriterGoes) {
  {
    VideoWriter video(folder / "a.mp4", 32, 32);
    for (int i = 0; i < 5; ++i) video.write(picture(32, 32), i);
  }
  VideoReader video((folder / "a.mp4").string());
  EXPECT_EQ(read_video(video).size(), 5U);
}

std::string message_of(const fs::path& path, const VideoReaderOptions& options = {}) {
  try {
    VideoReader video(path.string(), options);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST_F(Video, WhatIsNoVideoIsOneMessage) {
  write_file(folder / "empty.mp4", "");
  EXPECT_NE(message_of(folder / "empty.mp4").find("0 bytes"), std::string::npos);
  EXPECT_NE(message_of(folder / "missing.mp4").find("no such file"), std::string::npos);
  write_file(folder / "text.mp4", "Dear diary, today I made no video at all, and so on and so on.\n");
  EXPECT_NE(message_of(folder / "text.mp4").find("text.mp4: "), std::string::npos);
  write_file(folder / "text.txt", "Dear diary, today I made no video at all.\n");
  EXPECT_NE(message_of(folder / "text.txt").find("text.txt: "), std::string::npos);
  // A WAV file with a tenth of a second of silence.
  std::string wav("RIFF\x64\x06\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\x40\x06\0\0", 44);
  write_file(folder / "sound.wav", wav + std::string(1600, '\0'));
  EXPECT_NE(message_of(folder / "sound.wav").find("has no video in it, only sound"), std::string::npos)
      << message_of(folder / "sound.wav");
  write_video(folder / "a.mp4", 64, 48, steady(10));
  const std::string bytes = read_file(folder / "a.mp4");
  write_file(folder / "cut.mp4", bytes.substr(0, bytes.size() / 2));
  EXPECT_NE(message_of(folder / "cut.mp4").find("moov atom not found"), std::string::npos)
      << message_of(folder / "cut.mp4");
  EXPECT_NE(message_of(folder / "a.mp4", {.max_pixels = 1000}).find("more than the limit"), std::string::npos);
  EXPECT_NE(message_of("camera:77").find("no such camera"), std::string::npos);
}

// If FFmpeg can continue after damaged data, the reader does so and counts the errors.
TEST_F(Video, DamagedPacketsArePassedOver) {
  write_video(folder / "a.mp4", 64, 48, steady(60), {.codec = "mpeg4"});
  std::string bytes = read_file(folder / "a.mp4");
  const size_t data = bytes.find("mdat") + 4, end = bytes.find("moov") - 4;
  for (size_t i = data + (end - data) / 3; i < data + (end - data) / 2; ++i) bytes[i] = static_cast<char>(i * 37);
  write_file(folder / "damaged.mp4", bytes);
  VideoReader video((folder / "damaged.mp4").string());
  const size_t frames = read_video(video).size();
  EXPECT_GE(frames, 30U);
  EXPECT_LE(frames, 60U);
  EXPECT_GT(video.damaged(), 0);
  EXPECT_NE(video.damage(), "");
}

TEST_F(Video, ACutVideoWhoseIndexStandsInFrontPlaysUpToTheCut) {
  write_video(folder / "a.mp4", 64, 48, steady(60), {.codec = "mpeg4"});
  const std::string bytes = index_first(read_file(folder / "a.mp4"));
  write_file(folder / "whole.mp4", bytes);
  VideoReader whole((folder / "whole.mp4").string());
  EXPECT_EQ(read_video(whole).size(), 60U);
  write_file(folder / "cut.mp4", bytes.substr(0, (bytes.find("mdat") + bytes.size()) / 2));
  VideoReader cut((folder / "cut.mp4").string());
  EXPECT_EQ(cut.info().frames, 60);
  const size_t some = read_video(cut).size();
  EXPECT_GT(some, 10U);
  EXPECT_LT(some, 50U);
}

TEST_F(Video, ARealOneHasAsManyFramesAsItsHeaderTells) {
  for (const char* name : {"../real/video/people.mp4", "../real/video/short.mp4"}) {
    HR_NEEDS_ORACLE(name);
    VideoReader video(test::oracle(name).string());
    EXPECT_EQ(static_cast<int64_t>(read_video(video).size()), video.info().frames);
    EXPECT_EQ(video.damaged(), 0) << video.damage();
  }
}

TEST_F(Video, OfALiveSourceTheOldestFramesAreDroppedAndCounted) {
  write_video(folder / "a.mp4", 32, 32, steady(200));
  VideoReader video((folder / "a.mp4").string(), {.live = true});
  int64_t given = 0, last = -1;
  for (VideoFrame frame; video.next(frame); ++given) {
    EXPECT_GT(frame.index, last);
    // The caller is slow: it waits until the source has run ahead, or has ended.
    for (int64_t before = video.dropped(); given < 3 && video.dropped() < before + 5 && frame.index < 150;) {
    }
    last = frame.index;
  }
  EXPECT_EQ(last, 199) << "the newest frame is never dropped";
  EXPECT_EQ(given + video.dropped(), 200);
  EXPECT_GT(video.dropped(), 10);
}

TEST_F(Video, KeepsTheShapeOfPixels) {
  for (const char* codec : {"", "mpeg4"}) {
    write_video(folder / "a.mp4", 64, 48, steady(3), {.codec = codec, .pixel = {16, 11}});
    VideoReader video((folder / "a.mp4").string());
    EXPECT_EQ(video.info().pixel, (PixelShape{16, 11})) << codec;
    EXPECT_EQ(video.info().width, 64);
  }
  write_video(folder / "square.mp4", 64, 48, steady(3));
  EXPECT_EQ(VideoReader((folder / "square.mp4").string()).info().pixel, PixelShape());
  EXPECT_THROW(VideoWriter(folder / "b.mp4", 64, 48, {.pixel = {0, 1}}), Error);
}

TEST_F(Video, SoundIsCopiedAsFarAsThePicturesReach) {
  write_file(folder / "a.mp3", test::made_mp3(150));  // 3.92 s
  const test::Sound whole = test::sound_of(folder / "a.mp3");
  ASSERT_EQ(whole.packets.size(), 150U);
  {
    VideoWriter video(folder / "all.mp4", 32, 32, {.sound_of = folder / "a.mp3"});
    for (const double t : steady(100)) video.write(picture(32, 32), t);
    video.finish();
    EXPECT_EQ(video.sound_problem(), "");
  }
  const test::Sound all = test::sound_of(folder / "all.mp4");
  EXPECT_EQ(all.codec, "mp3");
  ASSERT_EQ(all.packets.size(), whole.packets.size());
  for (size_t i = 0; i < all.packets.size(); ++i) {
    EXPECT_EQ(all.packets[i].bytes, whole.packets[i].bytes) << i;
    EXPECT_NEAR(all.packets[i].seconds, whole.packets[i].seconds, 1e-4) << i;
  }
  VideoReader back((folder / "all.mp4").string());
  EXPECT_EQ(read_video(back).size(), 100U);
  {
    VideoWriter video(folder / "half.mp4", 32, 32, {.sound_of = folder / "a.mp3"});
    for (const double t : steady(50)) video.write(picture(32, 32), t);
    video.finish();
  }
  const test::Sound half = test::sound_of(folder / "half.mp4");
  ASSERT_GT(half.packets.size(), 10U);
  EXPECT_NEAR(half.packets.back().seconds, 2, 0.05);
}

// Recordings of television and of cameras: no table of contents, times that do not begin at 0, and usually cut.
TEST_F(Video, MpegTsIsReadAndOneThatIsCutGivesTheFramesBefore) {
  write_video(folder / "a.mp4", 64, 48, steady(60));
  test::remux(folder / "a.mp4", folder / "a.ts");
  VideoReader whole((folder / "a.ts").string());
  const std::vector<VideoFrame> frames = read_video(whole);
  ASSERT_EQ(frames.size(), 60U);
  for (int i = 0; i < 60; ++i) {
    EXPECT_NEAR(frames[i].seconds, i / 25.0, 1e-3);
    EXPECT_LE(difference(frames[i].image, picture(64, 48, i)), 12) << i;
  }
  const std::string bytes = read_file(folder / "a.ts");
  // One recording ends and another begins within a packet of 188 bytes.
  write_file(folder / "cut.ts", bytes.substr(0, bytes.size() / 2 / 188 * 188 + 50));
  VideoReader cut((folder / "cut.ts").string());
  const size_t some = read_video(cut).size();
  EXPECT_GT(some, 10U);
  EXPECT_LT(some, 60U);
  write_file(folder / "late.ts", bytes.substr(77));
  VideoReader late((folder / "late.ts").string());
  EXPECT_GT(read_video(late).size(), 10U);
}

TEST_F(Video, SoundThatMp4CannotHoldIsAProblemButNoError) {
  write_file(folder / "a.wav", test::made_wav(1));
  write_video(folder / "silent.mp4", 32, 32, steady(5));
  write_file(folder / "text.txt", "no video at all");
  const auto problem = [&](const char* source) {
    VideoWriter video(folder / "out.mp4", 32, 32, {.sound_of = folder / source});
    for (const double t : steady(10)) video.write(picture(32, 32), t);
    video.finish();
    VideoReader back((folder / "out.mp4").string());
    EXPECT_EQ(read_video(back).size(), 10U) << source;
    EXPECT_TRUE(test::sound_of(folder / "out.mp4").packets.empty());
    return video.sound_problem();
  };
  EXPECT_EQ(problem("a.wav"), "is coded as pcm_u8, which does not fit into MP4");
  EXPECT_EQ(problem("silent.mp4"), "");
  EXPECT_NE(problem("missing.mp4").find("cannot be read: No such file"), std::string::npos);
  EXPECT_NE(problem("text.txt"), "");
}

TEST_F(Video, EndsWhenItIsInterrupted) {
  write_video(folder / "a.mp4", 32, 32, steady(50));
  bool stop = false;
  VideoReader video((folder / "a.mp4").string(), {.interrupted = [&] { return stop; }});
  VideoFrame frame;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(video.next(frame));
  stop = true;
  EXPECT_FALSE(video.next(frame));
  EXPECT_FALSE(video.next(frame));
}

TEST(StreamName, AddressesAndCamerasAreNoFiles) {
  for (const char* name : {"rtsp://host/a", "http://host/a.mp4", "camera:0", "/dev/video1"})
    EXPECT_TRUE(is_stream_name(name)) << name;
  for (const char* name : {"a.mp4", "a:b.mp4", "/tmp/http", "://x", "C:/x.mp4"})
    EXPECT_FALSE(is_stream_name(name)) << name;
}

}  // namespace
}  // namespace hr
