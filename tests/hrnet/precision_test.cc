// Tests that `precision` is resolved to float32, bf16 or int8 before a program computes, and that contradictions are
// refused.
#include "hrnet/train/precision.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "ops/conv/dnnl_conv.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

const PrecisionWork kTraining{.training = true, .model = "hrnet_w1", .h = 64, .w = 64};

// The measurements are kept in this folder, instead of where those of other tests and runs are.
struct CacheFolder {
  explicit CacheFolder(const fs::path& folder) {
    if (const char* value = std::getenv("HRNET_CACHE")) before = value;
    ::setenv("HRNET_CACHE", folder.c_str(), 1);
  }
  ~CacheFolder() { before ? ::setenv("HRNET_CACHE", before->c_str(), 1) : ::unsetenv("HRNET_CACHE"); }
  std::optional<std::string> before;
};

struct Settled {
  bool amp = false;
  std::string error;
  std::vector<std::string> remarks;
};

Settled settle(const std::string& precision, bool amp, const PrecisionWork& work) {
  ModelOptions o;
  o.precision = precision;
  o.amp = amp;
  Settled s;
  try {
    settle_precision(o, work, [&](const std::string& text) { s.remarks.push_back(text); });
    EXPECT_EQ(o.precision, "") << "settled once";
  } catch (const Error& e) {
    EXPECT_EQ(e.field(), "precision");
    s.error = e.what();
  }
  s.amp = o.amp;
  return s;
}

TEST(Precision, NamedOnesAreTakenAndContradictionsRefused) {
  EXPECT_FALSE(settle("", false, kTraining).amp);
  EXPECT_TRUE(settle("", true, kTraining).amp);
  EXPECT_FALSE(settle("f32", false, kTraining).amp);
  EXPECT_TRUE(settle("bf16", false, kTraining).amp);
  EXPECT_NE(settle("f32", true, kTraining).error, "");
  EXPECT_NE(settle("half", false, kTraining).error, "");
  EXPECT_NE(settle("int8", false, kTraining).error.find("int8 is for inference"), std::string::npos);
  EXPECT_NE(settle("int8", false, {.model = "hrnet_w1", .h = 64, .w = 64}).error.find("has no weights of 8 bits"),
            std::string::npos);
  PrecisionWork ranks = kTraining;
  ranks.ranks = 2;
  EXPECT_NE(settle("auto", false, ranks).error, "") << "ranks might choose differently";
}

TEST(Precision, AutoMeasuresOnceAndRemembers) {
  if (!dnnl_has_bf16()) GTEST_SKIP() << "this processor has no bf16, so there is nothing to measure";
  const CacheFolder cache(test::temporary_folder());
  PrecisionWork work = kTraining;
  for (const bool training : {true, false}) {
    work.training = training;
    const Settled first = settle("auto", false, work), second = settle("auto", false, work);
    ASSERT_EQ(first.remarks.size(), 1u);
    ASSERT_EQ(second.remarks.size(), 1u);
    EXPECT_EQ(second.amp, first.amp);
    EXPECT_NE(first.remarks[0].find("images per second in"), std::string::npos) << first.remarks[0];
    EXPECT_NE(second.remarks[0].find("when it was measured"), std::string::npos) << second.remarks[0];
    EXPECT_NE(first.remarks[0].find(first.amp ? "auto: bf16" : "auto: float32"), std::string::npos);
  }
}

}  // namespace
}  // namespace hr
