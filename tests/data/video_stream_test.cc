// Videos over HTTP, from a server on the loopback interface that behaves well, or not.
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/data/made_video.h"
#include "tests/support/http_server.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::HttpServer;
using Kind = test::HttpServer::Kind;

class VideoStream : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_video()) GTEST_SKIP() << "built without FFmpeg";
    // Large enough that it is not read as a whole when it is opened.
    VideoWriter video(folder / "a.mp4", 320, 240, {.codec = "mpeg4", .quality = 5});
    for (int i = 0; i < 60; ++i) video.write(noise(i), i / 25.0);
    video.finish();
    end_index = read_file(folder / "a.mp4");
    front_index = test::index_first(end_index);
  }
  static Image noise(int n) {
    Image image(320, 240);
    auto state = static_cast<uint32_t>(n);
    for (uint8_t& v : image.rgb) v = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    return image;
  }
  const fs::path folder = test::temporary_folder();
  std::string end_index, front_index;
};

std::string message_of(const std::string& source) {
  try {
    VideoReader video(source);
    test::read_video(video);
    return video.damage();
  } catch (const Error& e) {
    return e.what();
  }
}

TEST_F(VideoStream, EveryFrameComesFromAServerThatGivesParts) {
  ASSERT_GT(end_index.size(), 1000000U);
  for (const std::string* file : {&end_index, &front_index}) {
    const HttpServer server(*file, Kind::ranges);
    VideoReader video(server.address("a.mp4"));
    EXPECT_FALSE(video.info().live) << "a file on a server waits";
    EXPECT_EQ(test::read_video(video).size(), 60U);
    EXPECT_EQ(video.damaged(), 0) << video.damage();
  }
}

TEST_F(VideoStream, AServerWithoutPartsNeedsTheIndexInFront) {
  {
    const HttpServer server(front_index, Kind::whole);
    VideoReader video(server.address("a.mp4"));
    EXPECT_EQ(test::read_video(video).size(), 60U);
  }
  const HttpServer server(end_index, Kind::whole);
  const std::string message = message_of(server.address("a.mp4"));
  EXPECT_NE(message.find("the server gives no parts of a file"), std::string::npos) << message;
}

TEST_F(VideoStream, WhatTheServerDoesNotHaveIsOneMessage) {
  const HttpServer server("", Kind::missing);
  EXPECT_NE(message_of(server.address("a.mp4")).find("404"), std::string::npos) << message_of(server.address("a.mp4"));
  EXPECT_NE(message_of("http://127.0.0.1:1/a.mp4").find("Connection refused"), std::string::npos);
}

TEST_F(VideoStream, AConnectionThatBreaksGivesTheFramesBeforeIt) {
  const HttpServer server(front_index, Kind::breaks);
  VideoReader video(server.address("a.mp4"));
  const size_t frames = test::read_video(video).size();
  EXPECT_GT(frames, 15U);
  EXPECT_LT(frames, 45U);
  EXPECT_GT(video.damaged(), 0);
}

TEST_F(VideoStream, AServerThatFallsSilentEndsTheVideoAfterAWhile) {
  const HttpServer server(front_index, Kind::silent);
  VideoReader video(server.address("a.mp4"), {.patience_seconds = 1});
  const size_t frames = test::read_video(video).size();
  EXPECT_GT(frames, 15U);
  EXPECT_LT(frames, 45U);
  EXPECT_NE(video.damage().find("nothing came for 1 s"), std::string::npos) << video.damage();
}

}  // namespace
}  // namespace hr
