#include "tools/programs/to_coco.h"

#include <fmt/format.h>

#include "core/counted.h"
#include "core/error.h"
#include "tools/cli/cli.h"

namespace hr {

void add_to_coco_options(CLI::App& app, ToCocoArguments& a) {
  describe(app,
           "Turns the export of a labelling tool into train.json and val.json, in COCO's format. The export is a COCO "
           "keypoint file (CVAT, Roboflow), Label Studio's JSON file, or a folder of labelme's JSON files.",
           "to_coco label_studio.json --output own --joints nose left_hand right_hand");
  app.add_option("export", a.input, "file, or folder of labelme's files")->required()->type_name("FILE|DIR");
  app.add_option("--output", a.output, "folder for train.json and val.json")->required()->type_name("DIR");
  app.add_option("--val-every", a.val_every, "every N-th picture, in the order of the names, goes to val.json")
      ->type_name("N");
  app.add_option("--joints", a.labels.joints,
                 "joints in their order; others are left out (default: a COCO file's own, or else alphabetical)")
      ->type_name("NAME...");
  app.add_option("--category", a.labels.category, "name of what is labelled; a COCO file brings its own")
      ->type_name("NAME");
}

void run_to_coco(const ToCocoArguments& a) {
  const Labels labels = read_labels(a.input, a.labels);
  const LabelSplit split = split_labels(labels.coco, a.val_every);
  const fs::path folder = a.output;
  prepare_output_folder(folder, "output");
  if (!labels.left_out.empty()) {
    fmt::print(stderr, "note: --joints does not name these labels, so they are left out: {}\n",
               fmt::join(labels.left_out, " "));
  }
  if (!labels.unlabelled.empty()) {
    fmt::print(stderr, "note: nobody in {} has the joints {}\n", a.input, fmt::join(labels.unlabelled, " "));
  }
  for (const auto& [name, part] : {std::pair{"train.json", &split.train}, std::pair{"val.json", &split.val}}) {
    write_coco(folder / name, *part);
    fmt::print("{}: {}, {}\n", name, counted(static_cast<int64_t>(part->images.size()), "picture"),
               counted_people(static_cast<int64_t>(part->annotations.size())));
  }
  fmt::print("joints: {}\n", fmt::join(labels.coco.categories[0].keypoints, " "));
}

}  // namespace hr
