#include "tools/cli/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace hr {
namespace {

// Runs `body` with a file and a clock that only the test advances.
struct Recorder {
  std::FILE* file = std::tmpfile();
  double time = 100;

  ~Recorder() { std::fclose(file); }
  Progress::Settings settings(bool terminal, int columns = 80) {
    return {.out = file, .terminal = terminal ? 1 : 0, .columns = columns, .clock = [this] { return time; }};
  }
  std::string text() {
    std::string all;
    std::rewind(file);
    for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) all += static_cast<char>(c);
    return all;
  }
};

TEST(Progress, DurationsReadAsOnAClock) {
  EXPECT_EQ(format_duration(0), "0:00");
  EXPECT_EQ(format_duration(7.4), "0:07");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(754), "12:34");
  EXPECT_EQ(format_duration(3600), "1:00:00");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(3 * 86400 + 4 * 3600 + 5 * 60), "3 d 04:05");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(std::nan("")), "?");
  EXPECT_EQ(format_duration(HUGE_VAL), "?");
}

TEST(Progress, OffATerminalFewPlainLinesAndALastOne) {
  Recorder record;
  {
    Progress progress("epoch 3/20", 1000, record.settings(false));
    for (int i = 1; i <= 1000; ++i) {  // 100 s in all
      record.time += 0.1;
      progress.update(i, "loss 0.5");
    }
    progress.finish("loss 0.25");
    progress.finish("twice");
  }
  const std::string text = record.text();
  const auto lines = std::count(text.begin(), text.end(), '\n');
  EXPECT_GE(lines, 8);
  EXPECT_LE(lines, 11);
  EXPECT_EQ(text.find_first_of("\r\x1b"), std::string::npos);
  EXPECT_TRUE(text.ends_with("epoch 3/20  100%  in 1:40  loss 0.25\n")) << text;
  EXPECT_NE(text.find("epoch 3/20   10%  ETA 1:30  loss 0.5\n"), std::string::npos) << text;
}

TEST(Progress, SlowWorkStillShowsSignsOfLife) {
  Recorder record;
  Progress progress("epoch 1/1", 100000, record.settings(false));
  for (int i = 1; i <= 300; ++i) {  // one unit per second, of which 10 % would take hours
    record.time += 1;
    progress.update(i);
  }
  const std::string text = record.text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5);  // once a minute
}

TEST(Progress, OnATerminalOneLineRedrawnAtMostTenTimesASecond) {
  Recorder record;
  Progress progress("epoch 3/20", 1000, record.settings(true, 60));
  for (int i = 1; i <= 500; ++i) {  // 5 s in all
    record.time += 0.01;
    progress.update(i, "loss 0.0123  lr 1.0e-03  84 img/s  wait 2%");
  }
  const std::string text = record.text();
  const auto redraws = std::count(text.begin(), text.end(), '\r');
  EXPECT_GE(redraws, 40);
  EXPECT_LE(redraws, 51);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  for (size_t at = text.find('\r'); at != std::string::npos;) {  // no line is wider than the terminal
    const size_t end = text.find('\x1b', at);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LT(end - at - 1, 60U);
    at = text.find('\r', end);
  }
  const size_t last = text.rfind('\r');
  EXPECT_NE(text.find("ETA 0:05", last), std::string::npos) << text.substr(last);
}

TEST(Progress, TheTimeLeftCountsFromTheFirstUpdate) {
  Recorder record;
  Progress progress("resumed", 200, record.settings(true));
  record.time += 30;  // the time of starting
  progress.update(100);
  record.time += 10;
  progress.update(150);
  const std::string text = record.text();
  EXPECT_NE(text.find("ETA ?"), std::string::npos) << text;
  EXPECT_NE(text.rfind(" 75%  ETA 0:10"), std::string::npos) << text;
}

TEST(Progress, AMessageGetsALineOfItsOwn) {
  Recorder record;
  Progress progress("epoch", 10, record.settings(true));
  progress.update(1);
  progress.say("warning: slow disk");
  EXPECT_NE(record.text().find("\r\x1b[Kwarning: slow disk\n"), std::string::npos);
}

}  // namespace
}  // namespace hr
