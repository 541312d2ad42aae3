// COCO keypoint evaluation (OKS AP and AR), equal to pycocotools' COCOeval(iouType='keypoints') in every array.
//   const CocoAnnotations gt = read_truth("person_keypoints_val2017.json");
//   const std::vector<CocoDetection> dt = read_results("results.json");
//   const CocoEvalResult result = evaluate_coco(gt, dt, {.detections_name = "results.json"});
//   fmt::print("{}\n", coco_summary(result));
// docs/examples/evaluate.cc is a program of ten lines that does this. It links hr_eval and no networks. There are ten
// OKS thresholds 0.50:0.05:0.95, 101 recall points, the areas all / medium / large, and at most 20 detections per
// picture. All functions are thread-safe.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/formats/coco.h"

namespace hr {

inline constexpr int kOksThresholds = 10, kRecallPoints = 101, kAreaRanges = 3, kMaxDetections = 20;

std::array<double, kOksThresholds> oks_thresholds();           // Has the bits of numpy.linspace(.5, .95, 10).
std::array<double, kRecallPoints> recall_points();             // Has the bits of numpy.linspace(0, 1, 101).
std::array<std::array<double, 2>, kAreaRanges> area_ranges();  // In square pixels, both ends included.

// The evaluator whose results are reproduced. They differ in which people and detections count:
//                        person ignored when          detection dropped when    a person's area      id 0 is an id
//   pycocotools          num_keypoints is 0           never                     area                 no
//   xtcocotools          no joint has v > 0           no third value is > 0     area, else 0.53 w h  yes
//   xtcocotools_crowd    num_keypoints is 0           no third value is > 0     0.53 w h             yes
// The last one is xtcocotools' iouType 'keypoints_crowd' with use_area=False, with which CrowdPose is published.
enum class CocoRules { pycocotools, xtcocotools, xtcocotools_crowd };
std::string_view coco_rules_name(CocoRules rules);
CocoRules parse_coco_rules(std::string_view name);  // Throws Error that lists the known names.

// The area of a person under these rules, in square pixels for OKS and area ranges, and whether the person is ignored
// in every range (a crowd, or no joints).
double coco_person_area(const CocoAnnotation& person, CocoRules rules);
bool coco_person_ignored(const CocoAnnotation& person, CocoRules rules);

// The names of the ten numbers, as the official project's tables have them.
inline constexpr std::array<const char*, 10> kOfficialStatNames = {"AP", "Ap .5", "AP .75", "AP (M)", "AP (L)",
                                                                   "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"};

struct CocoEvalOptions {
  std::vector<double> sigmas;       // One per joint; empty: COCO's 17.
  std::vector<int64_t> categories;  // Empty: all categories of the ground truth.
  std::vector<int64_t> images;      // Empty: all images; otherwise only people and detections of these.
  CocoRules rules = CocoRules::pycocotools;
  int threads = 1;  // Any number gives the same bytes.
  // True: numbers that are not finite and an empty list are refused. False: they are treated as by the reference's
  // arithmetic (a NaN score sorts last, a NaN OKS passes every threshold).
  bool strict = true;
  bool keep_matches = false;  // Fills CocoEvalResult::matches.
  // True: a detection of a category that the ground truth does not have is an Error.
  bool refuse_other_categories = false;
  // True: fields that the truth lacks and without which pycocotools ends (CocoAnnotation::lacks, a list of categories)
  // get a default and a remark: iscrowd 0, area w h, num_keypoints the joints with v > 0, category 1. False: throws
  // Error that names the entry.
  bool fill_in = true;
  // If not empty, this is added to the remarks: it says that the sigmas were assumed, and which ones.
  std::string sigmas_remark;
  std::string detections_name = "detections";  // For messages.
};

// The comparison in one picture and category at area range `all`.
struct CocoImageMatches {
  int64_t image_id = 0, category_id = 0;
  std::vector<int> detections;   // Indices into dt by falling score, at most 20.
  std::vector<int> people;       // Indices into gt.annotations in the order of the file.
  std::vector<double> oks;       // [detections, people].
  std::vector<int> match;        // [10, detections]: an index into gt.annotations, -1 if there is no match.
  std::vector<uint8_t> ignored;  // [10, detections]: 1 if the detection is neither a hit nor a false alarm.
};

struct CocoEvalResult {
  // AP, AP.5, AP.75, AP(M), AP(L), AR, AR.5, AR.75, AR(M), AR(L). -1 means that there was nothing to find.
  std::array<double, 10> stats{};
  std::vector<int64_t> categories;  // The C evaluated categories, ascending.
  std::vector<double> precision;    // [10, 101, C, 3, 1].
  std::vector<double> recall;       // [10, C, 3, 1].
  std::vector<double> scores;       // [10, 101, C, 3, 1]: the score at which the recall is reached.
  std::vector<CocoImageMatches> matches;
  // The numbers of entries that were compared or left out.
  struct Counts {
    int64_t images = 0, people = 0, detections = 0;  // People and detections of the evaluated categories.
    int64_t people_crowd = 0;                        // Ignored: iscrowd.
    int64_t people_without_joints = 0;               // Ignored: no labelled joint (and not a crowd).
    int64_t people_other_category = 0, detections_other_category = 0;  // Dropped.
    int64_t first_other_category = -1;                                 // The index of the first such detection.
    int64_t people_unknown_image = 0;                                  // Dropped: their image is not in the list.
    int64_t detections_unseen = 0;                                     // Dropped: no third value is > 0 (xtcocotools).
    int64_t detections_over_limit = 0;                                 // Dropped: beyond 20 of a picture and category.
    int64_t detections_not_finite = 0;                                 // Kept; only if strict is false.
  } counts;
  // Reasons why the numbers mean less than they seem to, or nothing at all, one sentence each: no people to find, areas
  // of 0, ids that do not occur in both files, boxes that are not x, y, width, height (eval/remarks.h). coco_remarks()
  // puts them first.
  std::vector<std::string> doubts;
  double match_seconds = 0, accumulate_seconds = 0;
};

// The area of a detection is that of its box if the detections have boxes, otherwise that of the extent of its points,
// as in loadRes of pycocotools and xtcocotools.
// Throws Error (which names the file, the index of the entry and what was expected) for a detection of an unknown image
// id, no keypoints or another number than 3 x sigmas, a number that is not finite (strict), no detections at all
// (strict), a category or image in `options` that the ground truth does not have, boxes in some entries only, and a
// needed field that is absent (see fill_in).
CocoEvalResult evaluate_coco(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt,
                             const CocoEvalOptions& options = {});

// Returns the ten lines that the reference prints, without a newline at the end.
std::string coco_summary(const CocoEvalResult& result);

// Returns the doubts, and what was dropped or ignored; empty if there is nothing to report. Every program that prints
// the numbers prints these beside them and writes them into its JSON.
std::vector<std::string> coco_remark_list(const CocoEvalResult& result);
std::string coco_remarks(const CocoEvalResult& result);  // The same, one per line.

}  // namespace hr
