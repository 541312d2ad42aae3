// The picture of training samples: where targets and predictions are drawn, and that a GPU's batches give the same.
#include "hrnet/train/sample_picture.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/crops.h"

namespace hr {
namespace {

Heatmaps view(const std::vector<float>& maps, const Batch& b) {
  return {maps.data(), b.size, b.h / 4, b.w / 4, b.joints};
}

TEST(SamplePicture, BatchesOfSourcesShowWhatBatchesOfImagesShow) {
  for (const Encoding encoding : {Encoding::quarter, Encoding::udp}) {
    for (const bool bgr : {false, true}) {
      test::MadeSet made(2);
      made.options.encoding = encoding;
      made.options.bgr = bgr;
      const PoseDataset set = made.dataset();
      const std::vector<Batch> images = test::batches_of(set, false, 4), sources = test::batches_of(set, true, 4);
      for (size_t i = 0; i < images.size(); ++i) {
        const Batch& b = images[i];
        const std::vector<float> wanted = target_heatmaps(b, b.size);
        EXPECT_EQ(target_heatmaps(sources[i], b.size), wanted);
        EXPECT_EQ(target_heatmaps(sources[i], 1).size(), wanted.size() / static_cast<size_t>(b.size));
        const DecodeOptions decoding{.codec = encoding == Encoding::udp ? Codec::udp : Codec::quarter};
        const auto picture = [&](const Batch& batch) {
          return sample_picture(batch, view(wanted, batch), view(wanted, batch), set.skeleton(), decoding, bgr);
        };
        EXPECT_EQ(picture(sources[i]).rgb, picture(b).rgb);
      }
    }
  }
}

TEST(SamplePicture, PanelsShowTheCropTheJointsAndTheHeatmaps) {
  test::MadeSet made(2);
  const PoseDataset set = made.dataset();
  const std::vector<Batch> batches = test::batches_of(set, false, 6);
  const Batch& b = batches[0];
  const std::vector<float> wanted = target_heatmaps(b, b.size), nothing(wanted.size());
  const Image picture =
      sample_picture(b, view(wanted, b), view(nothing, b), set.skeleton(), {.codec = Codec::argmax}, false, 2);
  const int panel = 48 + 4;
  EXPECT_EQ(picture.width, 4 * panel - 4);
  EXPECT_EQ(picture.height, 22 + 2 * (64 + 4) - 4);

  // Away from joints, the first two panels are the crop that the network sees.
  const Image crop = set.crop(b.meta[0].index, 1);
  int same = 0;
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 48; ++x) same += std::equal(crop.at(x, y), crop.at(x, y) + 3, picture.at(panel + x, 22 + y));
  }
  EXPECT_GT(same, 48 * 64 * 9 / 10);

  // A target of 1 adds red to the picture, and a prediction of 0 adds blue.
  const auto joints = static_cast<size_t>(b.joints);
  int peaks = 0;
  for (int cell = 0; cell < 16 * 12; ++cell) {
    const float* values = &wanted[static_cast<size_t>(cell) * joints];
    if (*std::max_element(values, values + joints) < 0.99F) continue;
    ++peaks;
    const int x = cell % 12 * 4 + 1, y = 22 + cell / 12 * 4 + 1;
    const uint8_t* target = picture.at(2 * panel + x, y);
    const uint8_t* predicted = picture.at(3 * panel + x, y);
    EXPECT_GT(target[0], predicted[0] + 60);
    EXPECT_GT(predicted[2], target[2] + 60);
  }
  EXPECT_GT(peaks, 0);
}

TEST(SamplePicture, LargeInputsAreShownSmallerAndMisfitsAreRefused) {
  test::MadeSet made(1);
  made.options.input_h = 512;
  made.options.input_w = 384;
  const PoseDataset set = made.dataset();
  const std::vector<Batch> batches = test::batches_of(set, false, 1);
  const Batch& b = batches[0];
  const std::vector<float> wanted = target_heatmaps(b, 1);
  const Image picture = sample_picture(b, view(wanted, b), view(wanted, b), set.skeleton(), {}, false);
  EXPECT_EQ(picture.width, 4 * (192 + 4) - 4);
  EXPECT_EQ(picture.height, 22 + 256);
  Heatmaps other = view(wanted, b);
  other.joints = 16;
  EXPECT_THROW(sample_picture(b, other, view(wanted, b), set.skeleton(), {}, false), Error);
  EXPECT_THROW(target_heatmaps(b, 2), Error);
  Batch empty;
  empty.size = 1, empty.h = 64, empty.w = 48, empty.joints = 17;
  EXPECT_THROW(target_heatmaps(empty, 1), Error);
}

}  // namespace
}  // namespace hr
