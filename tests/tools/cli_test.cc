#include "tools/cli/cli.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <new>
#include <system_error>

#include "core/error.h"

namespace hr {
namespace {

struct Options {
  int people = 3;
  std::array<int, 2> size{256, 192};
  std::string device = "cpu";
  std::vector<int> steps{170, 200};
  bool flip = true;
};

struct Outcome {
  int status = 0;
  std::string out, err;
};

Outcome run(std::vector<const char*> arguments, const std::function<int(const Options&)>& body) {
  arguments.insert(arguments.begin(), "crowd");
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.status = run_program<Options>(
      "crowd", static_cast<int>(arguments.size()), arguments.data(),
      [](CLI::App& app, Options& o) {
        describe(app, "Draws a crowd.", "crowd --people 7");
        app.add_option("--people", o.people, "how many people")->check(CLI::Range(0, 9));
        add_fixed_size(app, o.size);
        add_device(app, o.device);
        app.add_option("--steps", o.steps, "epochs")->type_name("N");
        app.add_flag("--flip,!--no-flip", o.flip, "mirror");
      },
      body);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

Outcome thrown(const std::function<void()>& body) {
  return run({}, [&](const Options&) {
    body();
    return 0;
  });
}

TEST(RunProgram, TheBodySeesTheOptionsAndGivesTheStatus) {
  int people = 0;
  const Outcome outcome =
      run({"--people", "7", "--fixed-size", "128", "96", "--device", "cuda:1"}, [&](const Options& o) {
        people = o.people;
        EXPECT_EQ(o.size, (std::array<int, 2>{128, 96}));
        EXPECT_EQ(o.device, "cuda:1");
        return 5;
      });
  EXPECT_EQ(outcome.status, 5);
  EXPECT_EQ(people, 7);
  EXPECT_EQ(outcome.err, "");
}

TEST(RunProgram, HelpShowsDefaultsAndAnExampleAndSucceeds) {
  const Outcome outcome = run({"--help"}, [](const Options&) { return 9; });
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.err, "");
  for (const char* part : {"Draws a crowd.", "how many people [default: 3]", "[default: 256 192]", "--steps N... ",
                           "[default: 170 200]", "--flip,--no-flip ", "Example:\n  crowd --people 7\n"}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part << " in\n" << outcome.out;
  }
}

TEST(RunProgram, AWrongOptionIsOneLineWithAHintAndStatus2) {
  const std::vector<std::vector<const char*>> wrong{
      {"--peple", "7"}, {"--people", "many"},           {"--people", "10"}, {"left"},
      {"--people"},     {"--fixed-size", "250", "192"}, {"--device", "gpu"}};
  for (const auto& arguments : wrong) {
    const Outcome outcome = run(arguments, [](const Options&) { return 0; });
    EXPECT_EQ(outcome.status, 2) << arguments[0];
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(outcome.err.starts_with("crowd: error: ")) << outcome.err;
    EXPECT_NE(outcome.err.find("--help"), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
  }
}

TEST(RunProgram, OurErrorIsOneLineAndStatus2) {
  const Outcome outcome = thrown([] { fail("a.json:3:7: expected {}\nfound {}", 17, 16); });
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err, "crowd: error: a.json:3:7: expected 17 found 16\n");  // no colour: not a terminal
}

TEST(RunProgram, WhatTheMachineRefusesIsStatus2) {
  const Outcome memory = thrown([] { throw std::bad_alloc(); });
  EXPECT_EQ(memory.status, 2);
  EXPECT_NE(memory.err.find("out of memory"), std::string::npos) << memory.err;

  const auto code = std::make_error_code(std::errc::no_space_on_device);
  const Outcome file = thrown([&] { throw std::filesystem::filesystem_error("write", "/somewhere/a.jpg", code); });
  EXPECT_EQ(file.status, 2);
  EXPECT_NE(file.err.find("/somewhere/a.jpg"), std::string::npos) << file.err;
  EXPECT_EQ(thrown([&] { throw std::system_error(code, "thread"); }).status, 2);
}

TEST(RunProgram, AMistakeOfOursIsStatus70) {
  const Outcome outcome = thrown([] { throw std::out_of_range("vector::at"); });
  EXPECT_EQ(outcome.status, 70);
  EXPECT_NE(outcome.err.find("internal error: vector::at"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace hr
