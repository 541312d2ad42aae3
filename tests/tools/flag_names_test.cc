// The names of settings in the library's messages, and the flags that a user of the programs reads instead.
#include "tools/cli/flag_names.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "hrnet/train/recipe.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

TEST(FlagNames, SettingsBecomeFlagsAndOtherWordsStay) {
  EXPECT_EQ(with_flags("`batch_size` 0: expected at least 1"), "--batch-size 0: expected at least 1");
  EXPECT_EQ(with_flags("use `weights`, not `resume`"), "use --weights, not --resume");
  EXPECT_EQ(with_flags("`joints` 16; `fixed_size` 64 64"), "--num-joints 16; --fixed-size 64 64");
  EXPECT_EQ(with_flags("give the file's own with `keypoints_path` categories"),
            "give the file's own with --keypoints-path categories");
  EXPECT_EQ(with_flags("training starts from it (`train.weights`)"), "training starts from it (`train --weights`)");
  // These are no settings: a field of a file, a command, a lone backtick.
  for (const char* text : {"has no `exp_avg`", "run `git lfs pull`", "a ` b", "`", "``", ""})
    EXPECT_EQ(with_flags(text), text);
  EXPECT_EQ(with_flags("`exp_avg``lr`"), "`exp_avg`--lr");
  EXPECT_EQ(with_flags("has no `exp_avg`; use `weights`"), "has no `exp_avg`; use --weights");
}

TEST(FlagNames, AnErrorOfARecipeNamesTheFlag) {
  TrainRecipe recipe;
  recipe.fixed_size = {100, 64};
  try {
    recipe.validate();
    ADD_FAILURE() << "100 is no multiple of 32";
  } catch (const Error& e) {
    EXPECT_EQ(flag_of(e.field()), "--fixed-size");
    EXPECT_TRUE(with_flags(e.what()).starts_with("--fixed-size 100 64: expected multiples of 32")) << e.what();
  }
}

}  // namespace
}  // namespace hr
