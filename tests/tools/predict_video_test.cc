// Tests predict on videos, alone and together with pictures: frames, times, people, and all files that are written.
#include <gtest/gtest.h>

#include <fcntl.h>

#include <csignal>
#include <cstring>
#include <set>
#include <sstream>

#include "core/io/json.h"
#include "data/formats/mot.h"
#include "data/video/video_reader.h"
#include "data/video/video_writer.h"
#include "hrnet/model/model.h"
#include "nn/state_dict.h"
#include "tests/data/made_video.h"
#include "tests/support/http_server.h"
#include "tests/support/oracle.h"
#include "tests/support/program.h"
#include "tests/support/sound.h"
#include "tests/support/yolox.h"
#include "tools/predict/number_files.h"
#include "tools/predict/overlay.h"

namespace hr {
namespace {

using test::Ended;
using test::program;
using test::run;

class PredictVideo : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_video()) GTEST_SKIP() << "built without FFmpeg";
    Context cx;
    const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
    // All heatmaps are lifted, so that the joints have scores that count.
    for (const Parameter& p : model->parameters().parameters()) {
      if (p.name == "final_layer.bias") std::fill_n(p.value.data<float>(), p.value.numel(), 0.5F);
    }
    save_state_dict(in / "w.safetensors", model->parameters(), {{"input_h", "64"}, {"input_w", "64"}});
    // Its scores are near 1/4 everywhere, so that it finds up to a hundred people in any picture.
    detector = test::write_yolox({.stem = 8, .depth = 1, .classes = 1});
    fs::create_directories(in / "out");
  }
  std::string command(const std::string& inputs, const std::string& more = "") const {
    return program("predict") + " " + inputs + " --weights " + (in / "w.safetensors").string() + " --output-dir " +
           (in / "out").string() + " --threads 1 --no-flip " + more;
  }
  std::string looking() const { return " --detector " + detector.string() + " --box-score 0.1 "; }
  std::string file(const char* name) const { return (in / name).string(); }

  const fs::path in = test::temporary_folder();
  fs::path detector;
};

Image picture(int w, int h, int n = 0) {
  Image image(w, h);
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      image.at(x, y)[0] = static_cast<uint8_t>((x * 3 + n * 2) % 256);
      image.at(x, y)[1] = static_cast<uint8_t>(y * 3 % 256);
    }
  }
  return image;
}

void write_video(const fs::path& path, int w, int h, const std::vector<double>& times) {
  VideoWriter video(path, w, h);
  for (size_t i = 0; i < times.size(); ++i) video.write(picture(w, h, static_cast<int>(i)), times[i]);
  video.finish();
}

std::vector<double> times_of(const fs::path& path) {
  VideoReader video(path.string());
  std::vector<double> times;
  for (VideoFrame frame; video.next(frame);) times.push_back(frame.seconds);
  return times;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST_F(PredictVideo, EveryFrameIsWrittenWithItsTimeInEveryForm) {
  const std::vector<double> times{0, 0.04, 0.05, 0.5, 0.51, 2, 2.25};
  write_video(in / "a.mp4", 80, 60, times);
  write_image(in / "b.png", picture(50, 40));
  const Ended e =
      run(command(file("a.mp4") + " " + file("b.png"), "--csv " + file("people.csv") + " --openpose " + file("op") +
                                                           " --mot " + file("mot") + " --json-lines"));
  ASSERT_EQ(e.status, 0) << e.output;
  const std::vector<double> overlay = times_of(in / "out/a_pose.mp4");
  ASSERT_EQ(overlay.size(), times.size());
  for (size_t i = 0; i < times.size(); ++i) EXPECT_NEAR(overlay[i], times[i], 1e-4);
  EXPECT_TRUE(fs::exists(in / "out/b_pose.jpg"));

  const auto poses = parse_json_file(in / "out/poses.json");
  ASSERT_EQ(poses.Size(), 8U) << "the whole picture is one person";
  std::set<int64_t> ids;
  for (const Json& p : poses.GetArray()) ids.insert(p["image_id"].GetInt64());
  EXPECT_EQ(ids.size(), 8U);
  EXPECT_EQ(poses[3]["frame"].GetInt64(), 3);
  EXPECT_NEAR(poses[3]["seconds"].GetDouble(), 0.5, 1e-4);
  EXPECT_FALSE(poses[7].HasMember("frame"));

  const std::vector<std::string> csv = lines_of(read_file(in / "people.csv"));
  ASSERT_EQ(csv.size(), 9U);
  EXPECT_TRUE(csv[0].starts_with("input,frame,seconds,track,score,left,top,width,height,nose_x,nose_y,nose_score"));
  for (const std::string& line : csv) EXPECT_EQ(std::count(line.begin(), line.end(), ','), 8 + 51);
  for (const char* name : {"a_000000000006_keypoints.json", "b_keypoints.json"}) {
    const auto frame = parse_json_file(in / "op" / name);
    ASSERT_EQ(frame["people"].Size(), 1U);
    EXPECT_EQ(frame["people"][0]["pose_keypoints_2d"].Size(), 18U * 3);
    EXPECT_EQ(frame["people"][0]["person_id"][0].GetInt64(), -1);
  }
  EXPECT_EQ(read_mot(in / "mot/a.txt", MotKind::detections).size(), times.size());
  std::vector<std::string> json = lines_of(e.output);  // progress, on stderr, among them
  std::erase_if(json, [](const std::string& line) { return !line.starts_with('{'); });
  ASSERT_EQ(json.size(), 8U) << e.output;
  const auto fourth = parse_json(json[3], "line");
  EXPECT_EQ(fourth["frame"].GetInt64(), 3);
  EXPECT_EQ(fourth["width"].GetInt64(), 80);
  EXPECT_EQ(fourth["people"][0]["keypoints"].Size(), 51U);
}

// Bad inputs of each kind beside good ones: one message each, status 2, and nothing lost of the others.
TEST_F(PredictVideo, BadInputsAreTheirOwnMessageAndLoseNothing) {
  write_video(in / "good.mp4", 64, 48, {0, 0.1, 0.2});
  const std::string bytes = read_file(in / "good.mp4");
  write_file(in / "cut.mp4", bytes.substr(0, bytes.size() / 2));
  write_file(in / "empty.mp4", "");
  write_file(in / "empty.png", "");
  std::string wav("RIFF\x64\x06\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\x40\x06\0\0", 44);
  write_file(in / "sound.mp4", wav + std::string(1600, '\0'));
  write_image(in / "last.png", picture(30, 30));
  std::string inputs;
  for (const char* name : {"cut.mp4", "empty.mp4", "good.mp4", "sound.mp4", "empty.png", "last.png"})
    inputs += file(name) + " ";
  const Ended e = run(command(inputs));
  EXPECT_EQ(e.status, 2) << e.output;
  EXPECT_NE(e.output.find("4 of 6 inputs could not be read; the others are done"), std::string::npos) << e.output;
  for (const char* why : {"cut.mp4: ", "empty.mp4: empty file", "sound.mp4: has no video", "empty.png: "})
    EXPECT_NE(e.output.find(why), std::string::npos) << why << e.output;
  EXPECT_EQ(times_of(in / "out/good_pose.mp4").size(), 3U);
  EXPECT_TRUE(fs::exists(in / "out/last_pose.jpg"));
  EXPECT_EQ(parse_json_file(in / "out/poses.json").Size(), 4U);
  const Ended none = run(command(file("cut.mp4") + " " + file("empty.png")));
  EXPECT_EQ(none.status, 2);
  EXPECT_NE(none.output.find("none of the 1 others can be read"), std::string::npos) << none.output;
  EXPECT_EQ(run(command(inputs, "--on-bad-sample skip")).status, 0);
}

TEST_F(PredictVideo, OddSizesAndOneFrame) {
  write_image(in / "dot.png", picture(1, 1));
  write_image(in / "tall.png", picture(17, 4000));
  write_video(in / "dot.mp4", 1, 1, {0});
  write_video(in / "tall.mp4", 17, 4000, {0});
  std::string inputs;
  for (const char* name : {"dot.png", "tall.png", "dot.mp4", "tall.mp4"}) inputs += file(name) + " ";
  for (const std::string& more : {std::string(), looking()}) {
    const Ended e = run(command(inputs, more));
    EXPECT_EQ(e.status, 0) << e.output;
    EXPECT_EQ(times_of(in / "out/tall_mp4_pose.mp4").size(), 1U);
  }
}

// The frames of 8K are larger than a queue of the pipeline, which therefore holds one at a time.
TEST_F(PredictVideo, EightK) {
  write_image(in / "b.jpg", picture(7680, 4320));
  VideoWriter video(in / "a.mp4", 7680, 4320, {.codec = "mpeg4"});
  for (int i = 0; i < 3; ++i) video.write(picture(7680, 4320, i), i * 0.04);
  video.finish();
  const Ended e = run(command(file("a.mp4") + " " + file("b.jpg"), looking() + "--track"));
  EXPECT_EQ(e.status, 0) << e.output;
  VideoReader overlay((in / "out/a_pose.mp4").string());
  EXPECT_EQ(overlay.info().width, 7680);
  EXPECT_EQ(overlay.info().height, 4320);
  EXPECT_EQ(overlay.info().frames, 3);
  EXPECT_TRUE(fs::exists(in / "out/b_pose.jpg"));
}

TEST_F(PredictVideo, TheOverlayHasTheSoundAndTheShapeOfPixelsOfItsVideo) {
  write_file(in / "a.mp3", test::made_mp3(100));
  VideoWriter video(in / "a.mp4", 64, 48, {.pixel = {16, 11}, .sound_of = in / "a.mp3"});
  for (int i = 0; i < 50; ++i) video.write(picture(64, 48, i), i * 0.04);
  video.finish();
  const Ended e = run(command(file("a.mp4")));
  ASSERT_EQ(e.status, 0) << e.output;
  EXPECT_EQ(VideoReader((in / "out/a_pose.mp4").string()).info().pixel, (PixelShape{16, 11}));
  const test::Sound before = test::sound_of(in / "a.mp4"), after = test::sound_of(in / "out/a_pose.mp4");
  ASSERT_GT(before.packets.size(), 70U);
  ASSERT_EQ(after.packets.size(), before.packets.size());
  for (size_t i = 0; i < before.packets.size(); ++i) {
    EXPECT_EQ(after.packets[i].bytes, before.packets[i].bytes);
    EXPECT_NEAR(after.packets[i].seconds, before.packets[i].seconds, 1e-4);
  }
}

// The frames before the cut, or before the connection broke, are processed and written.
TEST_F(PredictVideo, OfAVideoThatBreaksOffTheBeginningIsDone) {
  std::vector<double> times;
  for (int i = 0; i < 60; ++i) times.push_back(i * 0.04);
  write_video(in / "a.mp4", 160, 120, times);
  const std::string whole = test::index_first(read_file(in / "a.mp4"));
  write_file(in / "cut.mp4", whole.substr(0, (whole.find("mdat") + whole.size()) / 2));
  Ended e = run(command(file("cut.mp4")));
  EXPECT_EQ(e.status, 0) << e.output;
  const size_t done = times_of(in / "out/cut_pose.mp4").size();
  EXPECT_GT(done, 5U);
  EXPECT_LT(done, 60U);
  EXPECT_NE(e.output.find(fmt::format("people in {} frames", done)), std::string::npos) << e.output;
  EXPECT_NE(e.output.find("note       " + file("cut.mp4")), std::string::npos) << e.output;

  const test::HttpServer server(whole, test::HttpServer::Kind::ranges);
  e = run("env -u http_proxy no_proxy=127.0.0.1 " + command(server.address("street.mp4")));
  EXPECT_EQ(e.status, 0) << e.output;
  EXPECT_NE(e.output.find("60 people in 60 frames"), std::string::npos) << e.output;
}

// A picture with a hundred boxes, and a detector that finds a hundred people.
TEST_F(PredictVideo, AHundredPeople) {
  write_image(in / "crowd.png", picture(640, 480));
  std::string boxes = "[";
  for (int i = 0; i < 100; ++i) {
    boxes += fmt::format(R"({}{{"file_name": "crowd.png", "bbox": [{}, {}, 40, 60]}})", i == 0 ? "" : ", ",
                         10 + 60 * (i % 10), 5 + 45 * (i / 10));
  }
  write_file(in / "boxes.json", boxes + "]");
  Ended e = run(command(file("crowd.png"), "--boxes " + file("boxes.json")));
  EXPECT_EQ(e.status, 0) << e.output;
  EXPECT_NE(e.output.find("100 people in 1 picture"), std::string::npos) << e.output;
  EXPECT_EQ(parse_json_file(in / "out/poses.json").Size(), 100U);
  write_video(in / "a.mp4", 640, 480, {0, 0.1});
  e = run(command(file("a.mp4"), looking() + "--track --mot " + file("mot")));
  EXPECT_EQ(e.status, 0) << e.output;
  const auto tracks = read_mot(in / "mot/a.txt", MotKind::result);
  EXPECT_EQ(std::count_if(tracks.begin(), tracks.end(), [](const MotBox& b) { return b.frame == 1; }), 100);
}

// The detector finds a hundred people in each of three frames; the last one is a video in which it finds nobody.
TEST_F(PredictVideo, ACrowdAndNobody) {
  write_video(in / "a.mp4", 320, 240, {0, 0.1, 0.2});
  Ended e = run(command(file("a.mp4"), looking()));
  EXPECT_EQ(e.status, 0) << e.output;
  EXPECT_EQ(times_of(in / "out/a_pose.mp4").size(), 3U);
  EXPECT_GT(parse_json_file(in / "out/poses.json").Size(), 30U);
  e = run(command(file("a.mp4"), " --detector " + detector.string() + " --box-score 0.99 --track"));
  EXPECT_EQ(e.status, 0) << e.output;
  EXPECT_NE(e.output.find("0 people in 3 frames"), std::string::npos) << e.output;
  EXPECT_EQ(times_of(in / "out/a_pose.mp4").size(), 3U);
  EXPECT_EQ(parse_json_file(in / "out/poses.json").Size(), 0U);
}

// In the frames between two runs of the detector the same people are found, with the same numbers.
TEST_F(PredictVideo, TheTrackerCarriesPeopleBetweenDetections) {
  std::vector<double> times;
  for (int i = 0; i < 10; ++i) times.push_back(i * 0.1);
  write_video(in / "a.mp4", 160, 120, times);
  const Ended e = run(command(file("a.mp4"), looking() + "--every 3 --batch-size 4 --mot " + file("mot")));
  ASSERT_EQ(e.status, 0) << e.output;
  std::map<int, std::set<int64_t>> ids;
  for (const MotBox& b : read_mot(in / "mot/a.txt", MotKind::result)) ids[b.frame].insert(b.id);
  ASSERT_EQ(ids.size(), 10U);
  for (const int first : {1, 4, 7}) {
    EXPECT_GT(ids[first].size(), 0U);
    EXPECT_EQ(ids[first + 1], ids[first]);
    EXPECT_EQ(ids[first + 2], ids[first]);
  }
  EXPECT_EQ(ids[1].count(-1), 0U);
}

// Joints are smoothed in frames with the detector and in those between.
TEST_F(PredictVideo, JointsAreSmoothedBetweenDetectionsToo) {
  std::vector<double> times;
  for (int i = 0; i < 7; ++i) times.push_back(i * 0.04);
  write_video(in / "a.mp4", 160, 120, times);
  std::map<std::string, std::vector<std::string>> lines;
  for (const char* how : {"--smooth", "--no-smooth"}) {
    const Ended e = run(command(file("a.mp4"), looking() + "--every 3 --csv " + file("people.csv") + " " + how));
    ASSERT_EQ(e.status, 0) << e.output;
    lines[how] = lines_of(read_file(in / "people.csv"));
  }
  ASSERT_EQ(lines["--smooth"].size(), lines["--no-smooth"].size());
  std::set<int> smoothed;
  for (size_t i = 1; i < lines["--smooth"].size(); ++i) {
    const std::string& line = lines["--smooth"][i];
    if (line != lines["--no-smooth"][i]) smoothed.insert(std::atoi(line.c_str() + line.find(',') + 1));
  }
  for (int frame = 1; frame < 7; ++frame) EXPECT_EQ(smoothed.count(frame), 1U) << frame;
}

TEST_F(PredictVideo, ContradictionsAreToldBeforeAnythingIsRead) {
  write_video(in / "a.mp4", 32, 32, {0});
  Ended e = run(command(file("a.mp4"), "--track"));
  EXPECT_EQ(e.status, 2);
  EXPECT_NE(e.output.find("need --detector"), std::string::npos) << e.output;
  write_file(in / "boxes.json", "[]");
  e = run(command(file("a.mp4"), "--boxes " + file("boxes.json")));
  EXPECT_EQ(e.status, 2);
  EXPECT_NE(e.output.find("--boxes knows the people of pictures"), std::string::npos) << e.output;
}

// After a signal in the middle of a video, the frames that are done form a complete video and a complete list.
TEST_F(PredictVideo, CtrlCKeepsWhatWasDone) {
  std::vector<double> times;
  for (int i = 0; i < 2000; ++i) times.push_back(i * 0.04);
  write_video(in / "long.mp4", 48, 32, times);
  std::FILE* lines = ::popen(
      ("exec " + command(file("long.mp4"), "--json-lines --batch-size 1 2>" + file("said.txt") + " & echo $!; wait $!"))
          .c_str(),
      "r");
  ASSERT_NE(lines, nullptr);
  std::array<char, 8192> line{};
  ASSERT_NE(std::fgets(line.data(), line.size(), lines), nullptr);
  const pid_t pid = std::atoi(line.data());
  ASSERT_GT(pid, 0);
  int seen = 0;
  while (std::fgets(line.data(), line.size(), lines) != nullptr) {
    if (++seen == 5) ::kill(pid, SIGTERM);
  }
  const int status = ::pclose(lines);
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGTERM) << read_file(in / "said.txt");
  const size_t done = times_of(in / "out/long_pose.mp4").size();
  EXPECT_EQ(static_cast<int>(done), seen);
  EXPECT_LT(done, 2000U);
  EXPECT_EQ(parse_json_file(in / "out/poses.json").Size(), done);
}

TEST(OpenPose, HasANeckBetweenTheShouldersAndZerosForUnseenJoints) {
  const auto skeleton = std::make_shared<const Skeleton>(coco_skeleton());
  Pose pose{.skeleton = skeleton};
  for (int k = 0; k < 17; ++k) pose.joints.push_back({static_cast<float>(k), static_cast<float>(10 * k), 0.9F});
  pose.joints[16].score = 0.1F;
  const std::vector<float> v = openpose_joints(pose, 0.2);
  ASSERT_EQ(v.size(), 54U);
  EXPECT_EQ(v[3], 5.5F);   // neck
  EXPECT_EQ(v[6], 6.0F);   // right shoulder
  EXPECT_EQ(v[15], 5.0F);  // left shoulder
  EXPECT_EQ(v[30], 0.0F);  // right ankle, unseen
  EXPECT_EQ(v[32], 0.0F);
  EXPECT_EQ(v[42], 2.0F);  // right eye
  EXPECT_EQ(v[51], 3.0F);  // left ear
}

TEST(TrackColor, NeighboursDiffer) {
  for (int64_t i = 1; i < 200; ++i) {
    const Color a = track_color(i), b = track_color(i + 1);
    EXPECT_GT(std::abs(a.r - b.r) + std::abs(a.g - b.g) + std::abs(a.b - b.b), 100) << i;
  }
}

}  // namespace
}  // namespace hr
