#include "tools/cli/cli.h"
#include "tools/programs/predict.h"

namespace hr {

void add_predict_options(CLI::App& app, PredictOptions& o) {
  describe(
      app,
      "Finds the joints of people in pictures. Writes one overlay per picture, NAME_pose.jpg (where two names are "
      "equal, "
      "the ending and the folders stand in front), and poses.json in COCO's result format, which coco_eval takes. "
      "Pictures are read as they are seen, turned as their camera says. Exit status: 0; 2 when pictures could not be "
      "read, which are listed at the end, the others being done.",
      "predict photo.jpg --boxes boxes.json --weights demo/run/best.safetensors --output-dir out\n"
      "where boxes.json is [{\"file_name\": \"photo.jpg\", \"bbox\": [40, 20, 110, 260]}]");
  app.add_option("inputs", o.inputs, "pictures, or folders of pictures")->required()->type_name("FILE");
  add_weights(app, o);
  app.add_option("--boxes", o.boxes,
                 "JSON list of boxes {file_name, bbox: [x, y, w, h]}, or a COCO annotation file, whose image ids and "
                 "categories then stand in poses.json too; without it the whole picture is one person")
      ->type_name("FILE");
  app.add_option("--threshold", o.threshold, "joints with a higher score are drawn")->type_name("X");
  add_decoding_options(app, o.decoding);
  app.add_option("--batch-size", o.batch_size, "people per step")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--workers", o.workers, "loader threads")->type_name("N")->check(CLI::NonNegativeNumber);
  app.add_option("--output-dir", o.output_dir, "folder for overlays and poses.json")->type_name("DIR");
  app.add_option("--on-bad-sample", o.on_bad_sample,
                 "pictures that cannot be read: fail at the first, or skip and list them with exit status 0 [default: "
                 "list them, do the others, exit status 2]. A picture with damaged data counts as one of them only "
                 "when this is given; otherwise it is done with a note")
      ->check(CLI::IsMember({"fail", "skip"}));
  add_model_options(app, o);
}

}  // namespace hr
