// The accuracy of heatmaps: values that were computed by hand after lib/core/evaluate.py of the official HRNet project.
#include "eval/heatmap_accuracy.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"

namespace hr {
namespace {

// Heatmaps of 20 rows and 10 columns that are 0 but for one peak each. x is divided by 20/10 and y by 10/10, so a peak
// is near if it is less than one pixel off in x and half a pixel in y.
struct Peaks {
  int n, joints;
  std::vector<float> data = std::vector<float>(static_cast<size_t>(n) * 20 * 10 * joints, 0.0F);
  Peaks& at(int sample, int joint, int x, int y) {
    data[((static_cast<size_t>(sample) * 20 + y) * 10 + x) * joints + joint] = 1;
    return *this;
  }
  Heatmaps maps() const { return {data.data(), n, 20, 10, joints}; }
};

TEST(HeatmapAccuracy, DistancesAreScaledAsInTheOfficialCode) {
  const Peaks target = Peaks{1, 1}.at(0, 0, 5, 5);
  EXPECT_EQ(heatmap_accuracy(Peaks{1, 1}.at(0, 0, 5, 5).maps(), target.maps()), 1);
  EXPECT_EQ(heatmap_accuracy(Peaks{1, 1}.at(0, 0, 6, 5).maps(), target.maps()), 0);  // 1 / 2 is not below 1 / 2
  // At 64 x 48 one pixel is 0.16 in x and 0.21 in y: three pixels in x are near, three in y are not.
  std::vector<float> wanted(64 * 48), three_right(64 * 48), three_down(64 * 48);
  wanted[30 * 48 + 20] = three_right[30 * 48 + 23] = three_down[33 * 48 + 20] = 1;
  EXPECT_EQ(heatmap_accuracy({three_right.data(), 1, 64, 48, 1}, {wanted.data(), 1, 64, 48, 1}), 1);
  EXPECT_EQ(heatmap_accuracy({three_down.data(), 1, 64, 48, 1}, {wanted.data(), 1, 64, 48, 1}), 0);
}

TEST(HeatmapAccuracy, IsTheMeanOverJointsThatHaveATarget) {
  // Joint 0 counts in both samples and is found in one; joint 1 counts in one and is found there; joint 2 never counts.
  const Peaks target = Peaks{2, 3}.at(0, 0, 4, 9).at(1, 0, 3, 3).at(1, 1, 7, 7).at(0, 1, 1, 9).at(1, 2, 9, 1);
  const Peaks found = Peaks{2, 3}.at(0, 0, 4, 9).at(1, 0, 9, 9).at(1, 1, 7, 7).at(0, 1, 1, 9).at(1, 2, 9, 1);
  EXPECT_EQ(heatmap_accuracy(found.maps(), target.maps()), (0.5 + 1) / 2);
}

TEST(HeatmapAccuracy, WithoutTargetsThereIsNoNumber) {
  const Peaks nothing{2, 3};
  EXPECT_TRUE(std::isnan(heatmap_accuracy(nothing.maps(), nothing.maps())));
  EXPECT_THROW(heatmap_accuracy(Peaks{2, 3}.maps(), Peaks{2, 4}.maps()), Error);
}

}  // namespace
}  // namespace hr
