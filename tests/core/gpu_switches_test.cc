// The environment variables that switch changes of the CUDA backend on.
#include "core/gpu_switches.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <utility>

#include "core/error.h"

namespace hr {
namespace {

TEST(GpuSwitches, AreOffUnlessTheEnvironmentSaysOtherwise) {
  ::unsetenv("HRNET_REVERSE");
  EXPECT_FALSE(reversed_loops().elements || reversed_loops().sums);
  ::setenv("HRNET_REVERSE", "", 1);
  EXPECT_FALSE(reversed_loops().elements || reversed_loops().sums);
  ::setenv("HRNET_REVERSE", "elements", 1);
  EXPECT_TRUE(reversed_loops().elements && !reversed_loops().sums);
  ::setenv("HRNET_REVERSE", "sums", 1);
  EXPECT_TRUE(!reversed_loops().elements && reversed_loops().sums);
  ::setenv("HRNET_REVERSE", "both", 1);
  EXPECT_TRUE(reversed_loops().elements && reversed_loops().sums);
  ::setenv("HRNET_REVERSE", "1", 1);
  try {
    reversed_loops();
    ADD_FAILURE() << "accepted";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "HRNET_REVERSE=1: expected none or elements or sums or both");
  }
  ::unsetenv("HRNET_REVERSE");

  ::unsetenv("HRNET_COEFFICIENTS");
  EXPECT_FALSE(coefficients_in_registers());
  ::setenv("HRNET_COEFFICIENTS", "registers", 1);
  EXPECT_TRUE(coefficients_in_registers());
  ::unsetenv("HRNET_COEFFICIENTS");

  ::unsetenv("HRNET_DEPENDENT_LAUNCH");
  EXPECT_EQ(dependent_launch(), DependentLaunch::off);
  ::setenv("HRNET_DEPENDENT_LAUNCH", "start", 1);
  EXPECT_EQ(dependent_launch(), DependentLaunch::start);
  ::unsetenv("HRNET_DEPENDENT_LAUNCH");

  ::unsetenv("HRNET_NORM_BACKWARD");
  EXPECT_FALSE(folded_norm_backward());
  ::setenv("HRNET_NORM_BACKWARD", "folded", 1);
  EXPECT_TRUE(folded_norm_backward());
  ::unsetenv("HRNET_NORM_BACKWARD");

  using Switch = std::pair<const char*, bool (*)()>;
  for (const auto& [name, on] : {Switch{"HRNET_FILTER_SLAB", filter_gradient_slab},
                                 Switch{"HRNET_RELU_BITS", relu_bits}, Switch{"HRNET_BF16_CROPS", bf16_crops},
                                 Switch{"HRNET_ADAM_ROUNDS", adam_rounds}, Switch{"HRNET_EARLY_CROPS", early_crops}}) {
    ::unsetenv(name);
    EXPECT_FALSE(on()) << name;
    ::setenv(name, "on", 1);
    EXPECT_TRUE(on()) << name;
    ::setenv(name, "yes", 1);
    EXPECT_THROW(on(), Error) << name;
    ::unsetenv(name);
  }
}

}  // namespace
}  // namespace hr
