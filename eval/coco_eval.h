// COCO keypoint evaluation (OKS AP and AR), equal to pycocotools' COCOeval(iouType='keypoints') in every array.
//   const CocoAnnotations gt = read_truth("person_keypoints_val2017.json");
//   const std::vector<CocoDetection> dt = read_results("results.json");
//   const CocoEvalResult result = evaluate_coco(gt, dt, {.detections_name = "results.json"});
//   fmt::print("{}\n", coco_summary(result));
// A program of ten lines that does this is docs/examples/evaluate.cc; it links hr_eval and nothing of the networks.
// Ten OKS thresholds 0.50:0.05:0.95, 101 recall points, areas all / medium / large, 20 detections per picture.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/formats/coco.h"

namespace hr {

inline constexpr int kOksThresholds = 10, kRecallPoints = 101, kAreaRanges = 3, kMaxDetections = 20;

std::array<double, kOksThresholds> oks_thresholds();           // the bits of numpy.linspace(.5, .95, 10)
std::array<double, kRecallPoints> recall_points();             // the bits of numpy.linspace(0, 1, 101)
std::array<std::array<double, 2>, kAreaRanges> area_ranges();  // square pixels, both ends included

// Whose evaluator to equal. They differ in who counts:
//                        person ignored when          detection dropped when    a person's area      id 0 is an id
//   pycocotools          num_keypoints is 0           never                     area                 no
//   xtcocotools          no joint has v > 0           no third value is > 0     area, else 0.53 w h  yes
//   xtcocotools_crowd    num_keypoints is 0           no third value is > 0     0.53 w h             yes
// The last one is xtcocotools' iouType 'keypoints_crowd' with use_area=False, which CrowdPose is published with.
enum class CocoRules { pycocotools, xtcocotools, xtcocotools_crowd };
std::string_view coco_rules_name(CocoRules rules);
CocoRules parse_coco_rules(std::string_view name);  // Error lists the names there are

// What the rules make of a person: square pixels for OKS and area ranges; ignored at every range (crowd or no joints).
double coco_person_area(const CocoAnnotation& person, CocoRules rules);
bool coco_person_ignored(const CocoAnnotation& person, CocoRules rules);

struct CocoEvalOptions {
  std::vector<double> sigmas;       // one per joint; empty: COCO's 17
  std::vector<int64_t> categories;  // empty: all of the ground truth
  std::vector<int64_t> images;      // empty: all; else only people and detections of these
  CocoRules rules = CocoRules::pycocotools;
  int threads = 1;            // any number gives the same bytes
  bool strict = true;         // refuse numbers that are not finite, and an empty list; false: as the reference's
                              // arithmetic treats them (a NaN score sorts last, a NaN OKS passes every threshold)
  bool keep_matches = false;  // fill CocoEvalResult::matches
  bool refuse_other_categories = false;  // a detection of a category that the ground truth does not have is an Error
  // What the truth lacks and pycocotools ends without (CocoAnnotation::lacks, a list of categories) gets a default and
  // a remark: iscrowd 0, area w h, num_keypoints the joints with v > 0, category 1. false: an Error that names the
  // entry.
  bool fill_in = true;
  std::string sigmas_remark;  // if not empty, said among the remarks: nobody gave the sigmas, and what was taken
  std::string detections_name = "detections";  // for messages
};

// One picture and category at area range `all`: what was compared with what.
struct CocoImageMatches {
  int64_t image_id = 0, category_id = 0;
  std::vector<int> detections;   // indices into dt, falling score, at most 20
  std::vector<int> people;       // indices into gt.annotations, file order
  std::vector<double> oks;       // [detections, people]
  std::vector<int> match;        // [10, detections]: index into gt.annotations, -1 if none
  std::vector<uint8_t> ignored;  // [10, detections]: 1 if neither hit nor false alarm
};

struct CocoEvalResult {
  std::array<double, 10> stats{};   // AP, AP.5, AP.75, AP(M), AP(L), AR, AR.5, AR.75, AR(M), AR(L); -1: nothing to find
  std::vector<int64_t> categories;  // C of them, ascending
  std::vector<double> precision;    // [10, 101, C, 3, 1]
  std::vector<double> recall;       // [10, C, 3, 1]
  std::vector<double> scores;       // [10, 101, C, 3, 1]: score at which the recall is reached
  std::vector<CocoImageMatches> matches;
  // What was compared and what was left out.
  struct Counts {
    int64_t images = 0, people = 0, detections = 0;  // people and detections of the evaluated categories
    int64_t people_crowd = 0;                        // ignored: iscrowd
    int64_t people_without_joints = 0;               // ignored: no labelled joint (and no crowd)
    int64_t people_other_category = 0, detections_other_category = 0;  // dropped
    int64_t first_other_category = -1;                                 // index of the first such detection
    int64_t people_unknown_image = 0;                                  // dropped: of an image that is not in the list
    int64_t detections_unseen = 0;                                     // dropped: no third value is > 0 (xtcocotools)
    int64_t detections_over_limit = 0;                                 // dropped: beyond 20 of a picture and category
    int64_t detections_not_finite = 0;                                 // kept, only with strict = false
  } counts;
  // What makes the numbers mean less than they seem to, or nothing at all, one sentence each: nobody to find, areas of
  // 0, ids that never meet, boxes that are no x, y, width, height (eval/remarks.h). coco_remarks() puts them first.
  std::vector<std::string> doubts;
  double match_seconds = 0, accumulate_seconds = 0;
};

// A detection's area is of its box when the detections have boxes, else the extent of its points, as in loadRes of
// pycocotools and xtcocotools.
// Error (naming the file, the entry's index and what was expected): a detection of an unknown image id, no keypoints or
// another number than 3 x sigmas, a number that is not finite (strict), no detections at all (strict), a category or
// image in `options` that the ground truth does not have, boxes in some entries only, a field that is needed and absent
// (see fill_in).
CocoEvalResult evaluate_coco(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt,
                             const CocoEvalOptions& options = {});

// The ten lines that the reference prints, without a newline at the end.
std::string coco_summary(const CocoEvalResult& result);

// The doubts, and what was dropped or ignored; empty when there is nothing to say. Every program that prints the
// numbers prints these beside them and writes them into its JSON.
std::vector<std::string> coco_remark_list(const CocoEvalResult& result);
std::string coco_remarks(const CocoEvalResult& result);  // one per line

}  // namespace hr
