// Tests track and track_eval, started as a user starts them.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "core/io/json.h"
#include "data/formats/mot.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

struct Ended {
  int status = -1;
  std::string output, errors;
};

Ended run(const std::string& command) {
  Ended ended;
  const fs::path errors = test::temporary_folder() / "stderr";
  std::FILE* pipe = ::popen((std::string(HR_PROGRAMS) + "/" + command + " 2>" + errors.string()).c_str(), "r");
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) ended.output += buffer.data();
  const int status = ::pclose(pipe);
  ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ended.errors = read_file(errors);
  return ended;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Files {
  fs::path folder = test::temporary_folder(), det = folder / "det.txt", out = folder / "out.txt",
           gt = folder / "gt.txt";
  std::string track() const { return "track --detections " + det.string() + " --output " + out.string(); }
  std::string eval() const { return "track_eval --gt " + gt.string() + " --dt " + out.string(); }
};

TEST(Track, FollowsAndTheEvaluatorAgrees) {
  const Files f;
  std::vector<MotBox> truth;
  std::string detections;
  for (int frame = 40; frame >= 1; --frame) {  // the frames of the file may be in any order
    for (int k = 0; k < 3; ++k) {
      const MotBox b{.frame = frame, .id = k + 1, .box = {100.0 * k + 2 * frame, 20, 40, 90}};
      truth.push_back(b);
      if (frame != 20)
        detections += fmt::format("{}, -1, {}, 20, 40, 90, {}, -1, -1, -1\r\n", frame, b.box.x, k == 2 ? -1.0 : 0.9);
    }
  }
  write_file(f.det, detections);
  write_file(f.gt, mot_text(truth));
  const Ended tracked = run(f.track() + " --fps 25");
  ASSERT_EQ(tracked.status, 0) << tracked.errors;
  EXPECT_EQ(tracked.output, "");
  EXPECT_TRUE(contains(tracked.errors, "117 boxes of 3 people")) << tracked.errors;
  const Ended table = run(f.eval());
  ASSERT_EQ(table.status, 0) << table.errors;
  EXPECT_TRUE(contains(table.output, "HOTA") && contains(table.output, "IDF1") && contains(table.output, "MOTA"));
  for (const char* rules : {"motmetrics", "trackeval"}) {
    const Ended e = run(f.eval() + " --json --rules " + rules);
    ASSERT_EQ(e.status, 0) << e.errors;
    const rapidjson::Document json = parse_json(e.output, "stdout");
    EXPECT_EQ(json["FN"].GetInt(), 3);
    EXPECT_EQ(json["FP"].GetInt(), 0);
    EXPECT_EQ(json["IDs"].GetInt(), 0);
    EXPECT_EQ(json["rules"].GetString(), std::string(rules));
    EXPECT_NEAR(json["IDF1"].GetDouble(), 2 * 117.0 / (117 + 120), 1e-12);
    EXPECT_EQ(json["HOTA_at"].Size(), 19u);
    EXPECT_EQ(json["evaluated"]["people_tracks"].GetInt(), 3);
  }
}

TEST(Track, TudCampusReachesTheBounds) {
  HR_NEEDS_ORACLE("../real/tracks/TUD-Campus.det.txt");
  const Files f;
  const std::string det = test::oracle("../real/tracks/TUD-Campus.det.txt").string();
  const std::string gt = test::oracle("../real/tracks/TUD-Campus.gt.txt").string();
  ASSERT_EQ(run("track --detections " + det + " --output " + f.out.string() + " --fps 25").status, 0);
  const Ended e = run("track_eval --gt " + gt + " --dt " + f.out.string() + " --json");
  ASSERT_EQ(e.status, 0) << e.errors;
  const rapidjson::Document json = parse_json(e.output, "stdout");
  EXPECT_GE(json["MOTA"].GetDouble(), 0.61);
  EXPECT_GE(json["IDF1"].GetDouble(), 0.71);
}

TEST(Track, EmptyAndFarFramesEnd) {
  const Files f;
  write_file(f.det, "");
  Ended e = run(f.track());
  EXPECT_EQ(e.status, 0) << e.errors;
  EXPECT_TRUE(contains(e.errors, "has no boxes")) << e.errors;
  EXPECT_EQ(read_file(f.out), "");
  // A billion frames without people are not processed one by one.
  write_file(f.det, "1,-1,0,0,9,9,.9\n999999998,-1,0,0,9,9,.9\n999999999,-1,0,0,9,9,.9\n");
  e = run(f.track());
  EXPECT_EQ(e.status, 0) << e.errors;
  EXPECT_TRUE(contains(read_file(f.out), "999999999,2,")) << read_file(f.out);
}

TEST(Track, BadInputIsOneMessageWithFileAndLine) {
  const Files f;
  const auto refused = [](const std::string& command, std::initializer_list<std::string> words) {
    const Ended e = run(command);
    EXPECT_EQ(e.status, 2) << command << e.errors;
    EXPECT_EQ(e.output, "") << command;
    EXPECT_EQ(std::count(e.errors.begin(), e.errors.end(), '\n'), 1) << e.errors;
    for (const std::string& word : words) EXPECT_TRUE(contains(e.errors, word)) << word << " in: " << e.errors;
  };
  refused(f.track(), {"det.txt", "cannot open"});
  write_file(f.det, "1,-1,0,0,9,9,.9\n2,-1,0,0,nan,9,.9\n");
  refused(f.track(), {"track: error: ", "det.txt:2: ", "width"});
  write_file(f.det, "1,-1,0,0,0,9,.9\n");
  refused(f.track(), {"det.txt:1: ", "no area"});
  write_file(f.det, "1,-1,0,0,9,9,.9\n");
  refused(f.track() + " --fps 0", {"--fps"});
  refused(f.track() + " --high-score 0.05", {"low_score"});
  write_file(f.gt, "1,1,0,0,9,9,1\n1,1,0,0,9,9,1\n");
  write_file(f.out, "1,1,0,0,9,9,1\n");
  refused(f.eval(), {"track_eval: error: ", "gt.txt:2: ", "second time"});
  write_file(f.gt, "1,1,0,0,9,9,1\n");
  write_file(f.out, "0,1,0,0,9,9,1\n");
  refused(f.eval(), {"out.txt:1: ", "count from 1"});
  refused(f.eval() + " --rules devkit", {"--rules"});
}

TEST(Track, NumbersThatMeanNothingAreNull) {
  const Files f;
  write_file(f.gt, "");
  write_file(f.out, "1,1,0,0,9,9,1\n");
  const Ended e = run(f.eval() + " --json");
  ASSERT_EQ(e.status, 0) << e.errors;
  EXPECT_TRUE(parse_json(e.output, "stdout")["MOTA"].IsNull());
  EXPECT_TRUE(contains(e.errors, "no people")) << e.errors;
}

}  // namespace
}  // namespace hr
