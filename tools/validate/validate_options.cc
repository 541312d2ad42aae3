#include "tools/cli/cli.h"
#include "tools/cli/data_options.h"
#include "tools/cli/model_options.h"
#include "tools/programs/validate.h"

namespace hr {

void add_validate_options(CLI::App& app, ValidateOptions& o) {
  describe(app,
           "Measures a pose model on COCO (ten OKS numbers), CrowdPose (nine) or MPII (PCKh). Prints what was measured "
           "and how, and writes result files in the seed's and the official formats.",
           "validate --data-path demo/data --weights demo/run/best.safetensors --output-dir demo/run");
  add_config_option(app, o.config, [&](const OfficialConfig& config) {
    std::vector<std::string> remarks = apply_official_config(config, o);
    if (!o.weights.empty()) app.get_option("--weights")->required(false);
    return remarks;
  });
  add_weights(app, o);
  add_data_options(app, o, DataFlags::validation);
  app.add_option("--mpii-truth", o.mpii_truth,
                 "MPII: gt_valid.mat, the ground truth of PCKh [default: beside the annotation file]")
      ->type_name("FILE");
  app.add_option("--person-det", o.person_det, "COCO result file of detected boxes, used instead of ground-truth boxes")
      ->type_name("FILE");
  app.add_option("--image-thre", o.image_thre, "least score of detected boxes that are used")->type_name("X");
  app.add_option("--batch-size", o.batch_size, "people per step")->type_name("N")->check(CLI::PositiveNumber);
  add_decoding_options(app, o.decoding);
  app.add_flag("--soft-nms", o.soft_nms,
               "soft OKS-NMS: scores are lowered instead of poses being dropped; at most 20 poses stay");
  app.add_flag("--no-nms", o.no_nms, "keep every pose, without OKS-NMS");
  app.add_option("--oks-thre", o.oks_thre,
                 "OKS of two poses above which the one with the lower score is dropped [default: 0.9]")
      ->type_name("X");
  app.add_option("--in-vis-thre", o.in_vis_thre,
                 "the score of a pose counts only joints with a higher score than this [default: 0.2]")
      ->type_name("X");
  app.add_flag("--analysis", o.analysis, "print an error analysis by joint and size, and draw it into analysis.png");
  app.add_option("--workers", o.workers, "loader threads")->type_name("N")->check(CLI::NonNegativeNumber);
  app.add_option("--output-dir", o.output_dir, "folder for the result files")->type_name("DIR");
  add_model_options(app, o);
}

}  // namespace hr
