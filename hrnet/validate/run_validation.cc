#include "hrnet/validate/run_validation.h"

#include <set>

#include "core/error.h"
#include "data/formats/mpii.h"
#include "eval/remarks.h"
#include "eval/results.h"

namespace hr {

PckhResult evaluate_people(const MpiiTruth& truth, const std::vector<PersonResult>& people) {
  std::vector<float> poses;  // [people, joints, 2], counted from 0
  for (const PersonResult& p : people) {
    for (size_t k = 0; k < p.keypoints.size(); k += 3) poses.insert(poses.end(), {p.keypoints[k], p.keypoints[k + 1]});
  }
  return evaluate_pckh(truth, poses);
}

ValidationRun run_validation(HeatmapRunner& runner, const PoseDataset& dataset, const PredictPeopleOptions& options,
                             const MpiiTruth* truth) {
  ValidationRun run;
  std::vector<PersonResult> people = predict_people(runner, dataset, options);
  if (options.ranks != nullptr && options.ranks->rank() != 0) return run;
  if (truth != nullptr) {
    run.pckh = evaluate_people(*truth, people);
    run.results = std::move(people);
    return run;
  }
  const bool seed = dataset.options().recipe == Recipe::seed;
  run.results = seed ? postprocess_seed(people) : postprocess_official(people, {.sigmas = dataset.skeleton().sigmas});
  const auto detections = to_detections(run.results, seed ? Rounding::two_decimals : Rounding::none);
  run.coco = evaluate_coco(dataset.annotations(), detections,
                           {.sigmas = dataset.skeleton().sigmas,
                            .categories = evaluated_categories(dataset),
                            .sigmas_remark = sigmas_doubt(dataset.skeleton()),
                            .detections_name = "the network's poses"});
  return run;
}

std::vector<int64_t> evaluated_categories(const PoseDataset& dataset) {
  std::set<int64_t> there;
  for (const CocoCategory& category : dataset.annotations().categories) there.insert(category.id);
  if (there.empty()) {
    for (const CocoAnnotation& person : dataset.annotations().annotations) there.insert(person.category_id);
  }
  std::vector<int64_t> categories;
  for (const int64_t id : dataset.options().categories) {
    if (there.contains(id)) categories.push_back(id);
  }
  return categories;
}

MpiiTruth open_mpii_truth(const fs::path& named, const PoseDataset& dataset) {
  const fs::path annotations = dataset.annotations().path;
  const fs::path path = named.empty() ? annotations.parent_path() / "gt_valid.mat" : named;
  check(fs::exists(path),
        "{}: does not exist; PCKh needs the head boxes in MPII's gt_valid.mat, so name that file with `mpii_truth`",
        path.string());
  MpiiTruth truth = read_mpii_truth(path);
  check(truth.people == static_cast<int64_t>(dataset.size()),
        "{}: has {} people, but {} has {}; use the annotations and the gt_valid.mat of the same set", path.string(),
        truth.people, annotations.string(), dataset.size());
  return truth;
}

}  // namespace hr
