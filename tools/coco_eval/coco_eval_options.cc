#include "tools/cli/cli.h"
#include "tools/programs/coco_eval.h"

namespace hr {

void add_coco_eval_options(CLI::App& app, CocoEvalArguments& arguments) {
  describe(app, "COCO keypoint AP and AR of a result file, the same numbers as pycocotools.",
           "coco_eval --gt person_keypoints_val2017.json --dt key_results.json");
  app.add_option("--gt", arguments.gt, "ground truth, COCO person_keypoints JSON")->required()->type_name("FILE");
  app.add_option("--dt", arguments.dt, "detections, a JSON list of {image_id, category_id, keypoints, score}")
      ->required()
      ->type_name("FILE");
  app.add_option("--type", arguments.type, "what is measured: keypoints (OKS) or bbox (boxes, IoU)")
      ->check(CLI::IsMember({"keypoints", "bbox"}));
  app.add_flag("!--no-categories", arguments.use_categories,
               "with --type bbox: a box may match an object of any category (pycocotools' useCats = 0)");
  auto* skeleton = app.add_option("--keypoints-path", arguments.keypoints_path,
                                  "skeleton: a name (coco, mpii, crowdpose, ...) or a file with joints and sigmas "
                                  "(without: the joints that --gt names, else COCO's 17)");
  skeleton->type_name("NAME|FILE");
  app.add_option(
         "--sigmas", arguments.sigmas,
         "OKS sigma of every joint of --gt, separated by commas: per joint the spread of annotations divided by the "
         "root of the area, such as 0.026 (a nose) to 0.107 (a hip)")
      ->delimiter(',')
      ->type_name("NUMBER")
      ->excludes(skeleton);
  app.add_option("--categories", arguments.categories, "category ids to evaluate (without: all)")
      ->delimiter(',')
      ->type_name("ID");
  app.add_option("--rules", arguments.rules,
                 "whose evaluator to equal: pycocotools, xtcocotools, xtcocotools_crowd, or crowdpose (the last with "
                 "easy, medium and hard); auto is crowdpose for files with crowdIndex, else pycocotools")
      ->check(CLI::IsMember({"auto", "pycocotools", "xtcocotools", "xtcocotools_crowd", "crowdpose"}));
  app.add_flag("--refuse-other-categories", arguments.refuse_other_categories,
               "an error, not a remark, when a detection has a category that is not evaluated");
  app.add_flag(
      "--fill-in", arguments.fill_in,
      "take what is usual for fields that the truth lacks and pycocotools ends without: iscrowd 0, area of the "
      "bbox, num_keypoints the joints with v > 0, category_id 1");
  app.add_option("--on-bad-sample", arguments.on_bad_sample,
                 "entries of the truth that cannot be used: fail, or skip and name them")
      ->check(CLI::IsMember({"fail", "skip"}));
  app.add_option("--analysis", arguments.analysis,
                 "error analysis (jitter, inversion, swap, miss; by joint and size): a table, and this picture")
      ->type_name("PNG");
  app.add_option("--arrays", arguments.arrays, "write precision, recall and scores, shaped as pycocotools has them")
      ->type_name("SAFETENSORS");
  app.add_option("--json", arguments.json, "write the ten numbers in full precision, counts and seconds")
      ->type_name("FILE");
  add_threads(app, arguments.threads);
}

}  // namespace hr
