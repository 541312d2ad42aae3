#include "tools/cli/cli.h"
#include "tools/programs/coco_eval.h"

namespace hr {

void add_coco_eval_options(CLI::App& app, CocoEvalArguments& arguments) {
  describe(app, "Computes COCO keypoint AP and AR of a result file, with the same numbers as pycocotools.",
           "coco_eval --gt person_keypoints_val2017.json --dt key_results.json");
  app.add_option("--gt", arguments.gt, "ground truth, COCO person_keypoints JSON")->required()->type_name("FILE");
  app.add_option("--dt", arguments.dt, "detections, a JSON list of {image_id, category_id, keypoints, score}")
      ->required()
      ->type_name("FILE");
  app.add_option("--type", arguments.type, "what to measure: keypoints (OKS) or bbox (IoU of boxes)")
      ->check(CLI::IsMember({"keypoints", "bbox"}));
  app.add_flag("!--no-categories", arguments.use_categories,
               "with --type bbox: a box may match an object of any category (pycocotools' useCats = 0)");
  auto* skeleton = app.add_option("--keypoints-path", arguments.keypoints_path,
                                  "skeleton: a name (coco, mpii, crowdpose, ...) or a file with joints and sigmas "
                                  "[default: the joints that --gt names, else COCO's 17]");
  skeleton->type_name("NAME|FILE");
  app.add_option(
         "--sigmas", arguments.sigmas,
         "OKS sigma of every joint of --gt, separated by commas: per joint the spread of annotations divided by the "
         "root of the area, such as 0.026 (a nose) to 0.107 (a hip)")
      ->delimiter(',')
      ->type_name("NUMBER")
      ->excludes(skeleton);
  app.add_option("--categories", arguments.categories,
                 "ids of the categories to evaluate, separated by commas [default: all]")
      ->delimiter(',')
      ->type_name("ID");
  app.add_option("--rules", arguments.rules,
                 "evaluator whose numbers to reproduce: pycocotools, xtcocotools, xtcocotools_crowd, or crowdpose "
                 "(with easy, medium and hard); auto is crowdpose for files with crowdIndex, else pycocotools")
      ->check(CLI::IsMember({"auto", "pycocotools", "xtcocotools", "xtcocotools_crowd", "crowdpose"}));
  app.add_flag("--refuse-other-categories", arguments.refuse_other_categories,
               "fail, instead of printing a remark, if a detection has a category that is not evaluated");
  app.add_flag("--fill-in", arguments.fill_in,
               "fill in fields that the ground truth lacks and pycocotools needs: iscrowd 0, the area of the bbox, the "
               "joints with v > 0 as num_keypoints, category_id 1");
  app.add_option("--on-bad-sample", arguments.on_bad_sample,
                 "what to do with entries of the ground truth that cannot be used: fail, or skip and list them")
      ->check(CLI::IsMember({"fail", "skip"}));
  app.add_option(
         "--analysis", arguments.analysis,
         "print an error analysis (jitter, inversion, swap, miss; by joint and size) and draw it into this file")
      ->type_name("PNG");
  app.add_option("--arrays", arguments.arrays,
                 "write precision, recall and scores into this file, with pycocotools' shapes")
      ->type_name("SAFETENSORS");
  app.add_option("--json", arguments.json, "write the ten numbers in full precision, counts and seconds into this file")
      ->type_name("FILE");
  add_threads(app, arguments.threads);
}

}  // namespace hr
