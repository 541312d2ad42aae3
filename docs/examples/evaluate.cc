// The evaluator as a library: evaluate TRUTH.json RESULTS.json. Nothing of the networks is needed: inside the tree it
// links hr_eval alone (which brings hr_data and hr_core).
#include <fmt/core.h>

#include <hrnet/eval/coco_eval.h>

int main(int, char** argv) {
  const hr::CocoAnnotations gt = hr::read_coco(argv[1]);
  const std::vector<hr::CocoDetection> dt = hr::read_coco_detections(argv[2]);
  const hr::CocoEvalResult r = hr::evaluate_coco(gt, dt, {.threads = 2, .detections_name = argv[2]});
  fmt::print("{}\n", hr::coco_summary(r));
  fmt::print("precision at OKS 0.50, recall 0.50: {:.3f}\n", r.precision[50 * 3]);  // [10, 101, 1, 3, 1]
}
