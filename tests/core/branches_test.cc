#include "core/branches.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace hr {
namespace {

TEST(SideStreamCount, IsTheEnvironmentsOrTheDefault) {
  ::unsetenv("HRNET_SIDE_STREAMS");
  EXPECT_EQ(side_stream_count(3), 3);
  for (const int count : {0, 1, 15}) {
    ::setenv("HRNET_SIDE_STREAMS", std::to_string(count).c_str(), 1);
    EXPECT_EQ(side_stream_count(3), count);
  }
  ::setenv("HRNET_SIDE_STREAMS", "", 1);
  EXPECT_EQ(side_stream_count(3), 3);
  for (const char* wrong : {"-1", "16", "3x", "three", "99999999999999999999"}) {
    ::setenv("HRNET_SIDE_STREAMS", wrong, 1);
    EXPECT_THROW(side_stream_count(3), Error) << wrong;
  }
  ::unsetenv("HRNET_SIDE_STREAMS");
}

}  // namespace
}  // namespace hr
