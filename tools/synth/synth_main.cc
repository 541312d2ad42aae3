#include <fmt/format.h>

#include "core/counted.h"
#include "tools/cli/cli.h"
#include "tools/synth/annotations.h"
#include "tools/synth/synth.h"

namespace {

struct Options {
  hr::SynthOptions synth;
  bool annotations_only = false;
  std::vector<std::string> sizes;
  Options() {
    for (const hr::PictureSize size : synth.sizes) sizes.push_back(fmt::format("{}x{}", size.width, size.height));
  }
};

void add_options(CLI::App& app, Options& o) {
  hr::describe(app,
               "Makes a sample dataset of drawn people in COCO's folder layout: train2017, val2017, annotations, and "
               "person_keypoints.json. If the folder holds one with the same arguments, it is reused.",
               "synth --output sample --train-images 1500 --val-images 150");
  app.add_option("--output", o.synth.output, "folder to write; new, empty, or made by synth before")
      ->required()
      ->type_name("DIR");
  app.add_option("--train-images", o.synth.train_images, "number of pictures to train on, with one to five people each")
      ->type_name("N");
  app.add_option("--val-images", o.synth.val_images, "number of pictures to validate on")->type_name("N");
  app.add_flag("--annotations-only", o.annotations_only,
               "write only annotations/person_keypoints_train2017.json, for --train-images pictures that are not "
               "drawn; 118287 makes a file of train2017's size");
  hr::add_seed(app, o.synth.seed);
  app.add_option("--size", o.sizes,
                 "sizes in pixels, one of which is drawn for each picture; repeat one to make it more frequent")
      ->type_name("WxH");
  hr::add_threads(app, o.synth.threads);
}

void run(const Options& options) {
  hr::SynthOptions o = options.synth;
  if (options.annotations_only) {
    const auto folder = hr::fs::path(o.output) / "annotations";
    hr::prepare_output_folder(folder, "output");
    const auto file = folder / "person_keypoints_train2017.json";
    const auto made = hr::synth_annotations({file, o.train_images, o.seed});
    fmt::print("{}: {}, {} ({} with labelled joints, {}), {:.1f} MB\n", file.string(),
               hr::counted(made.images, "image"), hr::counted_people(made.annotations), made.labelled,
               hr::counted(made.crowds, "crowd"), static_cast<double>(made.bytes) / 1e6);
    return;
  }
  o.sizes.clear();
  for (const std::string& size : options.sizes) o.sizes.push_back(hr::parse_picture_size(size));
  const bool made = hr::synth(o);
  fmt::print("{}: {} to train on, {} to validate on{}\n", o.output, hr::counted(o.train_images, "picture"),
             o.val_images, made ? "" : " (already there, reused)");
}

}  // namespace

int main(int argc, char** argv) { return hr::run_program<Options>("synth", argc, argv, add_options, run); }
