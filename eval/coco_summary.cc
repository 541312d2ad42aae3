// Writes the results and remarks of an evaluation as text (declared in eval/coco_eval.h).
#include "core/counted.h"
#include "core/error.h"
#include "eval/coco_eval.h"

namespace hr {

std::string coco_summary(const CocoEvalResult& result) {
  struct Line {
    const char *title, *iou, *area;
  };
  constexpr const char* ap = "Average Precision  (AP)";
  constexpr const char* ar = "Average Recall     (AR)";
  constexpr const char* range = "0.50:0.95";
  constexpr Line lines[10] = {{ap, range, "all"},    {ap, "0.50", "all"}, {ap, "0.75", "all"}, {ap, range, "medium"},
                              {ap, range, "large"},  {ar, range, "all"},  {ar, "0.50", "all"}, {ar, "0.75", "all"},
                              {ar, range, "medium"}, {ar, range, "large"}};
  std::string text;
  for (int i = 0; i < 10; ++i) {
    text += fmt::format("{} {} @[ IoU={:<9} | area={:>6} | maxDets={:>3} ] = {:0.3f}", i == 0 ? "" : "\n",
                        lines[i].title, lines[i].iou, lines[i].area, kMaxDetections, result.stats[i]);
  }
  return text;
}

std::vector<std::string> coco_remark_list(const CocoEvalResult& result) {
  const CocoEvalResult::Counts& c = result.counts;
  std::vector<std::string> lines = result.doubts;
  const auto say = [&](int64_t n, const std::string& one, const std::string& several, const std::string& what) {
    if (n > 0) lines.push_back(fmt::format("{} {}", counted(n, one, several), what));
  };
  const auto detections = [&](int64_t n, const std::string& what) { say(n, "detection", "detections", what); };
  const auto people = [&](int64_t n, const std::string& what) { say(n, "person", "people", what); };
  detections(
      c.detections_other_category,
      fmt::format("dropped: of a category that is not evaluated (the first is entry [{}])", c.first_other_category));
  detections(c.detections_unseen, "dropped: no joint has a score above 0");
  detections(c.detections_over_limit, fmt::format("dropped: beyond the best {} of a picture", kMaxDetections));
  detections(c.detections_not_finite, "with numbers that are not finite: kept as the reference treats them");
  people(c.people_other_category, "dropped: of a category that is not evaluated");
  people(c.people_unknown_image, "dropped: of an image that is not in the truth's list of images");
  people(c.people_crowd, "ignored: marked as a crowd");
  people(c.people_without_joints, "ignored: no labelled joint");
  return lines;
}

std::string coco_remarks(const CocoEvalResult& result) {
  return fmt::format("{}", fmt::join(coco_remark_list(result), "\n"));
}

}  // namespace hr
