#include "eval/crowdpose.h"

#include <cmath>

#include "core/error.h"
#include "data/formats/skeleton.h"
#include "eval/pairwise.h"

namespace hr {
namespace {

// Returns the mean of all precisions of the area range `all`, including the entries of -1, rounded to four decimals. It
// equals numpy.round(numpy.mean(precisions), 4).
double plain_mean(const CocoEvalResult& r) {
  std::vector<double> all;
  for (size_t i = 0; i < r.precision.size(); i += kAreaRanges) all.push_back(r.precision[i]);
  if (all.empty()) return std::nan("");
  return std::rint(pairwise_sum(all.data(), all.size()) / static_cast<double>(all.size()) * 1e4) / 1e4;
}

}  // namespace

CrowdPoseResult evaluate_crowdpose(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt,
                                   CocoEvalOptions options) {
  if (options.sigmas.empty()) options.sigmas = built_in_skeleton("crowdpose").sigmas;
  options.rules = CocoRules::xtcocotools_crowd;
  options.images.clear();
  std::array<std::vector<int64_t>, 3> group;  // Easy, medium, hard.
  for (size_t i = 0; i < gt.images.size(); ++i) {
    const CocoImage& image = gt.images[i];
    check(image.crowd_index >= 0,
          "{}: images[{}] (id {}): no \"crowdIndex\"; is this a CrowdPose file? Expected a number from 0 to 1", gt.path,
          i, image.id);
    group.at(image.crowd_index < 0.2 ? 0 : image.crowd_index < 0.8 ? 1 : 2).push_back(image.id);
  }
  CrowdPoseResult result;
  result.all = evaluate_coco(gt, dt, options);
  const auto& s = result.all.stats;
  result.stats = {s[0], s[1], s[2], s[5], s[6], s[7], -1, -1, -1};
  options.strict = false;  // Everything has been checked before, and a single group may be without detections.
  options.keep_matches = false;
  for (size_t g = 0; g < group.size(); ++g) {
    result.images.at(g) = static_cast<int64_t>(group.at(g).size());
    options.images = group.at(g);
    if (!options.images.empty()) result.stats.at(6 + g) = plain_mean(evaluate_coco(gt, dt, options));
  }
  return result;
}

std::string crowdpose_summary(const CrowdPoseResult& result) {
  struct Line {
    const char *title, *iou, *kind, *name;
  };
  constexpr const char* ap = "Average Precision  (AP)";
  constexpr const char* ar = "Average Recall     (AR)";
  constexpr const char* range = "0.50:0.95";
  constexpr std::array<Line, 9> lines = {{{ap, range, "area", "all"},
                                          {ap, "0.50", "area", "all"},
                                          {ap, "0.75", "area", "all"},
                                          {ar, range, "area", "all"},
                                          {ar, "0.50", "area", "all"},
                                          {ar, "0.75", "area", "all"},
                                          {ap, range, "type", "easy"},
                                          {ap, range, "type", "medium"},
                                          {ap, range, "type", "hard"}}};
  std::string text;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines.at(i);
    const std::string value =
        i < 6 ? fmt::format("{: 0.3f}", result.stats.at(i)) : fmt::format("{:0.3f}", result.stats.at(i));
    text += fmt::format("{} {} @[ IoU={:<9} | {}={:>6} | maxDets={:>3} ] = {}", i == 0 ? "" : "\n", line.title,
                        line.iou, line.kind, line.name, kMaxDetections, value);
  }
  return text;
}

}  // namespace hr
