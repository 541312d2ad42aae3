// The list of devices of --devices.
#include <gtest/gtest.h>

#include "core/error.h"
#include "tools/launch/spawn.h"

namespace hr {
namespace {

TEST(Launch, DevicesAreDifferentNumbers) {
  EXPECT_EQ(parse_devices("0,3"), (std::vector{0, 3}));
  EXPECT_EQ(parse_devices("2"), (std::vector{2}));
  for (const char* bad : {"", ",", "0,,1", "0,0", "a", "1,b", "-1", "0 1"})
    EXPECT_THROW(parse_devices(bad), Error) << bad;
}

std::string refused_devices(const std::vector<int>& devices, const char* visible) {
  try {
    return "accepted: " + visible_devices(devices, visible);
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(Launch, DevicesAreCountedAmongTheVisibleOnes) {
  EXPECT_EQ(visible_devices({0, 3}, nullptr), "0,3");
  EXPECT_EQ(visible_devices({0, 1}, "4,5"), "4,5");
  EXPECT_EQ(visible_devices({1}, "4,5"), "5");
  EXPECT_EQ(visible_devices({2, 0}, "GPU-8932f937,1,MIG-dd7"), "MIG-dd7,GPU-8932f937");
  // GPU 2, which belongs to another user, is out of reach.
  for (const auto& [visible, shown] :
       {std::pair{"4,5", "2 GPUs"}, {"7", "1 GPU;"}, {"", "0 GPUs"}, {"0,1,-1,2", "2 GPUs"}}) {
    const std::string message = refused_devices({0, 2}, visible);
    EXPECT_TRUE(message.starts_with("--devices 0,2: ")) << message;
    EXPECT_NE(message.find(std::string("CUDA_VISIBLE_DEVICES=") + visible + ", which shows " + shown),
              std::string::npos)
        << message;
  }
}

}  // namespace
}  // namespace hr
