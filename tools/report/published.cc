#include "tools/report/published.h"

#include <algorithm>

namespace hr {
namespace {

const std::vector<PublishedResult>& all_results() {
  static const std::string coco = "COCO val2017", detected = "detected (human AP 56.4)", truth = "ground truth";
  static const std::string hrnet = "README of leoxiaobin/deep-high-resolution-net.pytorch",
                           hrnet_174 = "issue 174 of leoxiaobin/deep-high-resolution-net.pytorch",
                           baselines = "README of microsoft/human-pose-estimation.pytorch",
                           baselines_92 = "issue 92 of microsoft/human-pose-estimation.pytorch",
                           baselines_79 = "issue 79 of microsoft/human-pose-estimation.pytorch",
                           mmpose_618 = "issue 618 of open-mmlab/mmpose", mmpose = "model zoo of open-mmlab/mmpose";
  static const std::string mpii = "MPII validation", place = "annotated centre and scale", pckh = "PCKh@0.5";
  static const std::vector<PublishedResult> results = {
      {"hrnet_w32", 256, 192, coco, detected, "AP", 74.4, hrnet},
      {"hrnet_w32", 384, 288, coco, detected, "AP", 75.8, hrnet},
      {"hrnet_w32", 256, 192, coco, truth, "AP", 76.5, hrnet_174},
      {"hrnet_w48", 256, 192, coco, detected, "AP", 75.1, hrnet},
      {"hrnet_w48", 384, 288, coco, detected, "AP", 76.3, hrnet},
      {"hrnet_w48", 256, 192, coco, truth, "AP", 77.6, mmpose_618},
      {"pose_resnet50", 256, 192, coco, detected, "AP", 70.4, baselines},
      {"pose_resnet50", 384, 288, coco, detected, "AP", 72.2, baselines},
      {"pose_resnet50", 256, 192, coco, truth, "AP", 72.4, baselines_92},
      {"pose_resnet101", 256, 192, coco, detected, "AP", 71.4, baselines},
      {"pose_resnet101", 384, 288, coco, detected, "AP", 73.6, baselines},
      {"pose_resnet101", 384, 288, coco, truth, "AP", 75.5, baselines_79},
      {"pose_resnet152", 256, 192, coco, detected, "AP", 72.0, baselines},
      {"pose_resnet152", 384, 288, coco, detected, "AP", 74.3, baselines},
      {"hrnet_w32", 256, 192, "CrowdPose test", "detected", "AP", 67.5, mmpose},
      {"pose_resnet50", 256, 192, "CrowdPose test", "detected", "AP", 63.7, mmpose},
      {"hrnet_w32", 256, 256, mpii, place, pckh, 90.3, hrnet},
      {"hrnet_w48", 256, 256, mpii, place, pckh, 90.1, mmpose},
      {"pose_resnet50", 256, 256, mpii, place, pckh, 88.5, baselines},
      {"pose_resnet101", 256, 256, mpii, place, pckh, 89.1, baselines},
      {"pose_resnet152", 256, 256, mpii, place, pckh, 89.6, baselines},
  };
  return results;
}

}  // namespace

std::vector<PublishedResult> published_results(std::string_view network, std::string_view measure, int height,
                                               int width) {
  std::vector<PublishedResult> found;
  for (const PublishedResult& r : all_results()) {
    if (r.network == network && r.measure == measure) found.push_back(r);
  }
  std::ranges::stable_partition(found,
                                [&](const PublishedResult& r) { return r.height == height && r.width == width; });
  return found;
}

}  // namespace hr
