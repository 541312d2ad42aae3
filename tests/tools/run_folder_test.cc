// Tests which files a run writes into its folder, and which message the user gets if it cannot write them.
#include <gtest/gtest.h>

#include "core/io/json.h"
#include "tests/support/oracle.h"
#include "tests/support/program.h"
#include "tests/tools/tiny_run.h"
#include "tools/programs/train.h"

namespace hr {
namespace {

TrainOptions tiny(const fs::path& root) {
  return test::tiny_run(test::tiny_data(root / "data", 10, 3), root / "run", 1);
}

TEST(RunFolder, TheConfigurationSaysHowLongTheWarmUpReallyIs) {
  TrainOptions o = tiny(test::temporary_folder());
  use_modern_recipe(o);
  ASSERT_EQ(train(o), 0);
  const auto config = parse_json_file(fs::path(o.output_dir) / "config.json");
  EXPECT_EQ(config["warmup_steps"].GetInt(), 1000);
  EXPECT_EQ(config["warmup_steps_used"].GetInt(), 0) << "a twentieth of a run of a few updates";
}

// The limit of the shell stands for a full disk: both let a write fail.
TEST(RunFolder, ADiskWithoutRoomIsOneMessageAndLeavesNoHalfFile) {
  const TrainOptions o = tiny(test::temporary_folder());
  const fs::path out = o.output_dir;
  const std::string command = test::program("train") + " --threads 1 --data-path " + o.data_path +
                              " --model hrnet_w2 --fixed-size 64 64 --batch-size 6 --epochs 1 --output-dir " +
                              out.string();
  const test::Ended e = test::run("ulimit -f 400 && " + command);
  EXPECT_EQ(e.status, 2) << e.output;
  const std::string message = "last.safetensors: cannot write: File too large";
  const size_t at = e.output.find(message);
  ASSERT_NE(at, std::string::npos) << e.output;
  EXPECT_EQ(e.output.find("error", at), std::string::npos) << e.output;
  for (const auto& entry : fs::directory_iterator(out)) {
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path();
  }
  EXPECT_NE(read_file(out / "report.html").find("ended by an error: "), std::string::npos);
}

}  // namespace
}  // namespace hr
