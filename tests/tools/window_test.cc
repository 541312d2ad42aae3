// The window of predict --show, with SDL's driver "dummy": it has no display, but it writes every picture that would
// be on it into a file of the current folder, and takes keys that the test presses.
#include "tools/predict/window.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "core/error.h"
#include "core/io/json.h"
#include "core/shared_library.h"
#include "data/video/video_writer.h"
#include "hrnet/model/model.h"
#include "nn/state_dict.h"
#include "tests/support/oracle.h"
#include "tests/support/program.h"
#include "tools/programs/predict.h"

namespace hr {
namespace {

using test::Ended;
using test::program;
using test::run;

constexpr std::chrono::seconds kDeadline(60);

// Waits until `done` returns true and returns false if that takes too long.
bool eventually(const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

// Presses a key as SDL's header SDL_events.h lays it out: type, time, window, state, and from byte 20 on the key. After
// the end of the window SDL takes no keys any more.
void press(int key) {
  static const SharedLibrary sdl("SDL2", {"libSDL2-2.0.so.0"}, "install it");
  int (*push)(void*) = nullptr;
  sdl.bind(push, "SDL_PushEvent");
  std::array<uint32_t, 32> event{0x300};
  event[5] = static_cast<uint32_t>(key);
  push(event.data());
}
constexpr int kEscape = 27, kSpace = 32;

class WindowTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_window()) GTEST_SKIP() << "built without SDL2";
    try {
      SharedLibrary("SDL2", {"libSDL2-2.0.so.0"}, "");
    } catch (const Error& e) {
      GTEST_SKIP() << e.what();
    }
    ::setenv("SDL_VIDEODRIVER", "dummy", 1);
    ::setenv("SDL_VIDEO_DUMMY_SAVE_FRAMES", "1", 1);
    before_ = fs::current_path();
    fs::current_path(shown);
  }
  void TearDown() override {
    if (!before_.empty()) fs::current_path(before_);
    for (const char* name : {"SDL_VIDEODRIVER", "SDL_VIDEO_DUMMY_SAVE_FRAMES"}) ::unsetenv(name);
  }
  // The picture that was on the display last, as a file.
  fs::path last_shown() const {
    fs::path last;
    for (const auto& entry : fs::directory_iterator(shown)) {
      if (entry.path().extension() == ".bmp" && (last.empty() || entry.path() > last)) last = entry.path();
    }
    return last;
  }
  static bool never() { return false; }

  const fs::path in = test::temporary_folder();
  const fs::path shown = [this] {
    fs::create_directories(in / "shown");
    return in / "shown";
  }();

 private:
  fs::path before_;
};

// The left half is red, the right half is blue.
Image halves(int w, int h) {
  Image image(w, h);
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      image.at(x, y)[0] = x * 2 < w ? 210 : 20;
      image.at(x, y)[2] = x * 2 < w ? 30 : 220;
    }
  }
  return image;
}

void expect_pixel(const Image& image, int x, int y, std::array<int, 3> rgb) {
  for (int c = 0; c < 3; ++c) EXPECT_NEAR(image.at(x, y)[c], rgb[c], 3) << x << ' ' << y << ' ' << c;
}

TEST_F(WindowTest, ShowsAPictureInTheShapeOfItsPixels) {
  for (const auto& [pixel, width] : {std::pair{PixelShape{1, 1}, 200}, {PixelShape{2, 1}, 400}}) {
    {
      Window("test", [] {}).show(halves(200, 100), pixel, true, never);
    }
    const Image seen = read_image(last_shown());
    EXPECT_EQ(seen.width, width);
    EXPECT_EQ(seen.height, 100);
    expect_pixel(seen, 10, 50, {210, 0, 30});
    expect_pixel(seen, width * 9 / 20, 5, {210, 0, 30});
    expect_pixel(seen, width * 11 / 20, 95, {20, 0, 220});
  }
}

// 8K, and a picture that is much longer than the display. The next picture has another shape than the window.
TEST_F(WindowTest, LargePicturesFitAndOthersGetBars) {
  {
    Window window("test", [] {});
    window.show(halves(7680, 4320), {}, true, never);
  }
  Image seen = read_image(last_shown());
  EXPECT_LE(seen.width, 1024);
  EXPECT_NEAR(static_cast<double>(seen.width) / seen.height, 16.0 / 9, 0.01);
  expect_pixel(seen, seen.width / 4, seen.height / 2, {210, 0, 30});
  {
    Window window("test", [] {});
    const fs::path before = last_shown();
    window.show(halves(200, 100), {}, true, never);
    ASSERT_TRUE(eventually([&] { return last_shown() != before; }));
    window.show(halves(100, 100), {}, true, never);
  }
  seen = read_image(last_shown());
  EXPECT_EQ(seen.width, 200);
  expect_pixel(seen, 20, 50, {0, 0, 0});
  expect_pixel(seen, 75, 50, {210, 0, 30});
  expect_pixel(seen, 125, 50, {20, 0, 220});
  {
    Window("test", [] {}).show(halves(17, 4000), {}, true, never);
  }
  EXPECT_LE(read_image(last_shown()).height, 768);
  {
    Window("test", [] {}).show(halves(1, 1), {}, true, never);
  }
}

TEST_F(WindowTest, EndsAtQAndEscapeAndShowsNothingAfterwards) {
  for (const int key : {static_cast<int>('q'), kEscape}) {
    std::atomic<int> ends = 0;
    Window window("test", [&] { ++ends; });
    window.show(halves(20, 20), {}, true, never);
    press('x');
    press(key);
    press(key);
    window.wait(never);
    EXPECT_TRUE(eventually([&] { return ends > 0; }));
    press(kSpace);
    window.show(halves(20, 20), {}, true, never);  // does not wait
    EXPECT_EQ(ends, 1);
  }
}

TEST_F(WindowTest, SpacePausesFilesUntilItIsPressedAgain) {
  Window window("test", [] {});
  window.show(halves(20, 20), {}, true, never);
  press(kSpace);
  // The key is taken when a picture after it waits.
  std::atomic<int64_t> asked = 0, shown_pictures = 0;
  std::atomic<bool> enough = false;
  std::thread caller([&] {
    while (!enough) {
      window.show(halves(20, 20), {}, true, [&] { return ++asked, false; });
      ++shown_pictures;
    }
  });
  EXPECT_TRUE(eventually([&] { return asked > 3; }));
  const int64_t at_pause = shown_pictures;
  const int64_t asked_at_pause = asked;
  EXPECT_TRUE(eventually([&] { return asked > asked_at_pause + 5; }));
  EXPECT_EQ(shown_pictures, at_pause) << "the caller waits";
  window.show(halves(20, 20), {}, false, never);  // A camera does not wait.
  press(kSpace);
  EXPECT_TRUE(eventually([&] { return shown_pictures > at_pause; }));
  press(kSpace);
  const int64_t again = asked;
  EXPECT_TRUE(eventually([&] { return asked > again + 3; }));
  enough = true;
  press('q');
  caller.join();
}

TEST_F(WindowTest, APauseEndsWhenTheCallerHasToStop) {
  Window window("test", [] {});
  window.show(halves(20, 20), {}, true, never);
  press(kSpace);
  bool stopped = false;
  ASSERT_TRUE(eventually([&] {
    window.show(halves(20, 20), {}, true, [&] { return stopped = true; });
    return stopped;
  }));
  window.wait([] { return true; });
}

class ShowTest : public WindowTest {
 protected:
  void SetUp() override {
    WindowTest::SetUp();
    if (IsSkipped()) return;
    if (!has_video()) GTEST_SKIP() << "built without FFmpeg";
    Context cx;
    const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
    save_state_dict(in / "w.safetensors", model->parameters(), {{"input_h", "64"}, {"input_w", "64"}});
  }
  void write_video(const fs::path& path, int frames) const {
    VideoWriter video(path, 64, 48);
    for (int i = 0; i < frames; ++i) video.write(halves(64, 48), i * 0.04);
    video.finish();
  }
  static size_t frames_of(const fs::path& path) {
    VideoReader video(path.string());
    size_t n = 0;
    for (VideoFrame frame; video.next(frame);) ++n;
    return n;
  }
  size_t files_in(const fs::path& folder) const {
    std::error_code missing;
    const fs::directory_iterator files(folder, missing);
    return missing ? 0 : static_cast<size_t>(std::distance(begin(files), end(files)));
  }
  PredictOptions options(const fs::path& input) const {
    PredictOptions o;
    o.inputs = {input.string()};
    o.weights = (in / "w.safetensors").string();
    o.output_dir = (in / "out").string();
    o.threads = 1;
    o.decoding.flip = false;
    o.batch_size = 1;
    o.show = true;
    return o;
  }
};

TEST_F(ShowTest, QEndsAVideoAndItsFilesAreWhole) {
  write_video(in / "long.mp4", 2000);
  PredictOptions o = options(in / "long.mp4");
  o.openpose = (in / "op").string();
  int status = -1;
  std::thread program([&] { status = predict(o); });
  EXPECT_TRUE(eventually([&] { return files_in(in / "op") >= 5; }));
  press('q');
  program.join();
  EXPECT_EQ(status, 0);
  const size_t done = frames_of(in / "out/long_pose.mp4");
  EXPECT_GE(done, 5U);
  EXPECT_LT(done, 2000U);
  EXPECT_EQ(parse_json_file(in / "out/poses.json").Size(), done);
  EXPECT_EQ(files_in(in / "op"), done);
}

TEST_F(ShowTest, ALastPictureStaysUntilQAndIsWrittenBefore) {
  write_image(in / "a.png", halves(64, 48));
  const PredictOptions o = options(in / "a.png");
  std::atomic<bool> ended = false;
  int status = -1;
  std::thread program([&] {
    status = predict(o);
    ended = true;
  });
  EXPECT_TRUE(eventually([&] { return fs::exists(in / "out/poses.json") && !last_shown().empty(); }));
  EXPECT_FALSE(ended);
  press('q');
  program.join();
  EXPECT_EQ(status, 0);
}

TEST_F(ShowTest, AVideoIsShownWithItsPeopleAlsoWithoutAnOverlay) {
  write_video(in / "a.mp4", 3);
  std::vector<std::string> seen;
  for (const char* overlay : {"--overlay", "--no-overlay"}) {
    const Ended e = run("cd " + shown.string() + " && " + program("predict") + " " + (in / "a.mp4").string() +
                        " --weights " + (in / "w.safetensors").string() + " --output-dir " + (in / "out").string() +
                        " --threads 1 --no-flip --threshold -1 --show " + overlay);
    ASSERT_EQ(e.status, 0) << e.output;
    ASSERT_FALSE(last_shown().empty());
    seen.push_back(read_file(last_shown()));
    fs::remove(last_shown());
  }
  EXPECT_TRUE(seen[0] == seen[1]);  // EXPECT_EQ would print both pictures.
  write_file(in / "seen.bmp", seen[0]);
  const Image image = read_image(in / "seen.bmp"), plain = halves(64, 48);
  ASSERT_EQ(image.width, 64);
  int drawn = 0;
  for (size_t i = 0; i < plain.rgb.size(); ++i) drawn += std::abs(image.rgb[i] - plain.rgb[i]) > 60 ? 1 : 0;
  EXPECT_GT(drawn, 50) << "a skeleton is drawn";
}

// The message comes before the weights are read, which do not exist here.
TEST(Show, WithoutADisplayIsOneMessageBeforeAnythingBegins) {
  const fs::path in = test::temporary_folder();
  write_image(in / "a.png", halves(20, 20));
  const std::string command = program("predict") + " " + (in / "a.png").string() + " --weights " +
                              (in / "missing.pth").string() + " --output-dir " + (in / "out").string() + " --show";
  for (const char* display : {"", "SDL_VIDEODRIVER=x11", "DISPLAY=:7654321"}) {
    const Ended e = run(std::string("env -u DISPLAY -u WAYLAND_DISPLAY -u SDL_VIDEODRIVER ") + display + " " + command);
    EXPECT_EQ(e.status, 2) << e.output;
    EXPECT_NE(e.output.find("leave out --show"), std::string::npos) << e.output;
    EXPECT_NE(e.output.find(has_window() ? "no display" : "this build has no windows"), std::string::npos) << e.output;
    EXPECT_EQ(e.output.find("missing.pth"), std::string::npos) << e.output;
    EXPECT_FALSE(fs::exists(in / "out"));
  }
}

}  // namespace
}  // namespace hr
