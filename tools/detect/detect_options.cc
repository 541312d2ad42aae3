#include "tools/cli/cli.h"
#include "tools/programs/detect.h"

namespace hr {

void add_detect_options(CLI::App& app, DetectOptions& o) {
  describe(app,
           "Finds people (or other things) in pictures with a YOLOX network: writes a COCO result file of boxes, and "
           "measures them where the truth is known.",
           "detect holiday/ --detector yolox_s.pth --output det.json --draw boxes\n"
           "detect --data-path coco --split val --detector yolox_s.pth --output det.json\n"
           "validate --data-path coco --person-det det.json --weights pose_hrnet_w32_256x192.pth");
  app.add_option("inputs", o.inputs, "pictures, or folders of pictures")->type_name("FILE");
  app.add_option("--data-path", o.data_path, "instead: a data set in COCO's layout; its image ids are written")
      ->type_name("DIR");
  app.add_option("--split", o.split, "of the data set: val, train, ...")->type_name("NAME");
  app.add_option("--annotations", o.annotations, "the data set's annotation file, where it has another name")
      ->type_name("FILE");
  app.add_option("--images", o.images, "the data set's pictures, a folder or a zip file, where they have another name")
      ->type_name("DIR");
  app.add_option("--detector", o.detector, "YOLOX weights: nano, tiny, s, m, l or x, as published (.pth)")
      ->required()
      ->type_name("FILE");
  app.add_option("--output", o.output, "file to write")->type_name("FILE");
  app.add_option("--draw", o.draw, "folder for pictures with the boxes drawn on them")->type_name("DIR");
  app.add_option("--draw-threshold", o.draw_threshold, "boxes with at least this score are drawn")->type_name("X");
  app.add_option("--classes", o.classes, "what to look for: names or numbers of classes, or all")
      ->delimiter(',')
      ->type_name("NAME");
  app.add_option("--confidence", o.confidence,
                 "least score that is written; 0.001 is for measuring, 0.1 to 0.3 for use")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--nms", o.nms, "of two boxes of a class with a larger IoU the worse one goes")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--at-most", o.at_most, "boxes of one class in a picture")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--input-size", o.input_size,
                 "height and width of the network's input, multiples of 32 [default: the weights': 416 416 for nano "
                 "and tiny, 640 640, 608 1088 for ByteTrack's]")
      ->expected(2)
      ->type_name("H W");
  app.add_option("--preprocessing", o.preprocessing,
                 "bgr (0 to 255) or rgb (normalised, as weights before 0.1.1 and ByteTrack's want it) [default: told "
                 "by the weights of the stem]")
      ->check(CLI::IsMember({"bgr", "rgb"}));
  app.add_option("--batch-size", o.batch_size, "pictures per step")->type_name("N")->check(CLI::PositiveNumber);
  app.add_flag("--amp", o.amp, "bf16 activations");
  app.add_flag("--exact", o.exact,
               "on the CPU: sum float32 convolutions directly (Winograd's method is faster and rounds differently)");
  add_device(app, o.device);
  add_threads(app, o.threads);
}

}  // namespace hr
