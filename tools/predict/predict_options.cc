#include "tools/cli/cli.h"
#include "tools/programs/predict.h"

namespace hr {

void add_predict_options(CLI::App& app, PredictOptions& o) {
  describe(
      app,
      "Finds the joints of people in pictures and videos. Writes overlays, NAME_pose.jpg and NAME_pose.mp4 (where two "
      "names are equal, the ending and the folders stand in front), and poses.json in COCO's result format, which "
      "coco_eval takes. Pictures and videos are read as they are seen, turned as their camera says; frames keep their "
      "times. Ctrl-C ends a video early, and what was done is written. Exit status: 0; 2 when inputs could not be "
      "read, which are listed at the end, the others being done; 130 after Ctrl-C.",
      "predict street.jpg holiday.mp4 --weights pose_hrnet_w32_256x192.pth --detector yolox_s.pth --track\n"
      "predict camera:0 --weights w32.pth --detector yolox_nano.pth --track --every 3 --json-lines\n"
      "predict photo.jpg --boxes boxes.json --weights demo/run/best.safetensors --output-dir out\n"
      "where boxes.json is [{\"file_name\": \"photo.jpg\", \"bbox\": [40, 20, 110, 260]}]");
  app.add_option("inputs", o.inputs,
                 "pictures, videos, folders of them, cameras (camera:0), and addresses (rtsp://, http://)")
      ->required()
      ->type_name("FILE");
  add_weights(app, o);
  app.add_option("--detector", o.detector,
                 "YOLOX weights that find the people: nano, tiny, s, m, l or x, as published (.pth)")
      ->type_name("FILE");
  app.add_option("--box-score", o.box_score,
                 "least score of a person that the detector finds; with --track fainter ones prolong a track, and one "
                 "begins from 0.1 above it")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--boxes", o.boxes,
                 "instead, for pictures: JSON list of boxes {file_name, bbox: [x, y, w, h]}, or a COCO annotation "
                 "file, whose image ids and categories then stand in poses.json too; with neither the whole picture is "
                 "one person")
      ->type_name("FILE");
  app.add_flag("--track", o.track,
               "follow people through a video: each has a number and a colour, and joints are smoothed; people are "
               "written from the second frame on in which they are found");
  app.add_option("--every", o.every,
                 "the detector looks at every N-th frame of a video, and the tracker carries the boxes between "
                 "(implies --track)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000));
  app.add_flag("--smooth,!--no-smooth", o.smooth, "smooth tracked joints (on by default)");
  app.add_option("--threshold", o.threshold, "joints with a higher score are drawn")->type_name("X");
  add_decoding_options(app, o.decoding);
  app.add_option("--batch-size", o.batch_size, "people per step, of one or several frames")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--workers", o.workers, "pictures that are read at a time")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--output-dir", o.output_dir, "folder for overlays and poses.json")->type_name("DIR");
  app.add_flag("--overlay,!--no-overlay", o.overlay, "draw people on their pictures (on by default)");
  app.add_flag("--show", o.show,
               "also show every picture and frame in a window, as soon as it is done: q or Esc ends early, with what "
               "was done written; space pauses files; the last picture stays until q. Needs SDL2 and a display");
  app.add_option("--csv", o.csv,
                 "also a table, a line per person: input, frame (from 0), seconds, track (0: none), score, left, top, "
                 "width, height, and x, y, score of each joint")
      ->type_name("FILE");
  app.add_option("--openpose", o.openpose,
                 "also OpenPose's JSON, a file per frame, NAME_000000000012_keypoints.json: people with person_id and "
                 "pose_keypoints_2d (x, y, score; COCO's joints in OpenPose's order of 18; 0, 0, 0 below --threshold)")
      ->type_name("DIR");
  app.add_option("--mot", o.mot,
                 "also MOT text, NAME.txt per video, a line per person: frame (from 1), id (-1: not tracked), left, "
                 "top, width, height, score, -1, -1, -1")
      ->type_name("DIR");
  app.add_flag(
      "--json-lines", o.json_lines,
      "a line of JSON per frame on stdout, as soon as it is done: input, frame, seconds, width, height, people "
      "[track, score, box [x, y, w, h], keypoints [x, y, score, ...]]; other text goes to stderr");
  app.add_option("--on-bad-sample", o.on_bad_sample,
                 "inputs that cannot be read: fail at the first, or skip and list them with exit status 0 [default: "
                 "list them, do the others, exit status 2]. A picture with damaged data counts as one of them only "
                 "when this is given; otherwise it is done with a note")
      ->check(CLI::IsMember({"fail", "skip"}));
  add_model_options(app, o);
}

}  // namespace hr
