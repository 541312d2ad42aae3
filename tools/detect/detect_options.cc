#include "tools/cli/cli.h"
#include "tools/cli/model_options.h"
#include "tools/programs/detect.h"

namespace hr {

void add_detect_options(CLI::App& app, DetectOptions& o) {
  describe(app,
           "Finds people (or objects of other classes) in pictures with a YOLOX network and writes a COCO result file "
           "of boxes. If there is ground truth, it also measures the boxes.",
           "detect holiday/ --detector yolox_s.pth --output det.json --draw boxes\n"
           "detect --data-path coco --split val --detector yolox_s.pth --output det.json\n"
           "validate --data-path coco --person-det det.json --weights pose_hrnet_w32_256x192.pth");
  app.add_option("inputs", o.inputs, "pictures, or folders of pictures")->type_name("FILE");
  app.add_option("--data-path", o.data_path, "dataset in COCO's layout, instead of inputs; its image ids are written")
      ->type_name("DIR");
  app.add_option("--split", o.split, "split of the dataset: val, train, ...")->type_name("NAME");
  app.add_option("--annotations", o.annotations, "annotation file of the dataset, if it does not have the usual name")
      ->type_name("FILE");
  app.add_option("--images", o.images,
                 "folder or zip file of the dataset's pictures, if it does not have the usual name")
      ->type_name("DIR");
  app.add_option("--detector", o.detector,
                 "YOLOX weights: nano, tiny, s, m, l or x, as published (.pth), or those of 8 bits that `convert` made")
      ->required()
      ->type_name("FILE");
  app.add_option("--output", o.output, "COCO result file to write")->type_name("FILE");
  app.add_option("--draw", o.draw, "folder for copies of the pictures with the boxes drawn on them")->type_name("DIR");
  app.add_option("--draw-threshold", o.draw_threshold, "least score of boxes that are drawn")->type_name("X");
  app.add_option("--classes", o.classes, "classes to look for: names or numbers, separated by commas, or all")
      ->delimiter(',')
      ->type_name("NAME");
  app.add_option("--confidence", o.confidence,
                 "least score of boxes that are written; use 0.001 to measure AP, 0.1 to 0.3 otherwise")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--nms", o.nms, "if two boxes of a class have a larger IoU, the one with the lower score is removed")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--at-most", o.at_most, "most boxes of one class in a picture")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option(
         "--input-size", o.input_size,
         "height and width of the network's input in pixels, multiples of 32 [default: the weights': 416 416 for nano "
         "and tiny, 640 640, 608 1088 for ByteTrack's]")
      ->expected(2)
      ->type_name("H W");
  app.add_option("--preprocessing", o.preprocessing,
                 "input of the network: bgr (0 to 255), or rgb (normalised, for weights before 0.1.1 and ByteTrack's) "
                 "[default: guessed from the weights of the stem]")
      ->check(CLI::IsMember({"bgr", "rgb"}));
  app.add_option("--batch-size", o.batch_size, "pictures per step")->type_name("N")->check(CLI::PositiveNumber);
  add_precision(app, o.precision, o.amp);
  app.add_flag("--exact", o.exact,
               "on the CPU: sum float32 convolutions directly; Winograd's method is faster and rounds differently");
  add_device(app, o.device);
  add_threads(app, o.threads);
}

}  // namespace hr
