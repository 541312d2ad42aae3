#include "tools/cli/data_options.h"

#include <fmt/format.h>

#include "tools/cli/cli.h"
#include "tools/cli/flag_names.h"
#include "tools/cli/progress.h"

namespace hr {

namespace {
// The flags of targets and augmentation, which only training has.
void add_target_options(CLI::App& app, DataOptions& o) {
  add_seed(app, o.seed);
  app.add_option("--codec", o.codec,
                 "target heatmaps: quarter (HRNet's, the joint is rounded to a pixel), dark (at the exact joint) or "
                 "udp (with crops of its own)")
      ->check(CLI::IsMember({"quarter", "dark", "udp"}));
  app.add_option("--cache-mib", o.cache_mib,
                 "MiB of memory for decoded parts of pictures, so that they are decoded only once")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--no-augment", o.no_augment, "use crops without augmentation");
  app.add_option("--scale-factor", o.scale_factor, "augmentation: spread of the scale, 0.25 for about 0.75 to 1.25")
      ->type_name("X")
      ->check(CLI::Range(0.0, 0.9));
  app.add_option("--rot-factor", o.rot_factor, "augmentation: spread of the rotation in degrees")
      ->type_name("X")
      ->check(CLI::Range(0.0, 90.0));
  app.add_flag("--mirror,!--no-mirror", o.mirror,
               "augmentation: mirror half of the people (on by default; --no-mirror turns it off)");
  app.add_option("--half-body-joints", o.half_body_joints,
                 "augmentation, official recipe: half body only with more labelled joints than this")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--prob-half-body", o.prob_half_body, "augmentation: share of people cropped to half their body")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--photometric", o.photometric,
                 "augmentation, only in the modern recipe (0.5): strength of changes in brightness, contrast, "
                 "saturation and hue, 0 to 1")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--coarse-dropout", o.coarse_dropout,
                 "augmentation, only in the modern recipe (0.5): share of crops with black rectangles in them")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
}
}  // namespace

void add_data_options(CLI::App& app, DataOptions& o, DataFlags flags, const std::function<void()>& modern) {
  app.add_option("--data-path", o.data_path,
                 "dataset: a folder with train2017/, val2017/ (or train2017.zip ...) and annotations/, or a file that "
                 "`pack` made")
      ->type_name("DIR|PACK");
  for (const auto& [split, annotations, images] : {std::tuple{"train", &o.train_annotations, &o.train_images},
                                                   std::tuple{"val", &o.val_annotations, &o.val_images}}) {
    if (flags == DataFlags::validation && annotations == &o.train_annotations) continue;
    app.add_option(fmt::format("--{}-annotations", split), *annotations,
                   "annotation file in COCO's or MPII's format, instead of the one in --data-path")
        ->type_name("FILE");
    app.add_option(fmt::format("--{}-images", split), *images, "folder or zip of pictures, instead of --data-path's")
        ->type_name("DIR|ZIP");
  }
  app.add_option("--dataset", o.dataset,
                 "layout of --data-path: coco, mpii or crowdpose; auto guesses it from the files")
      ->check(CLI::IsMember({"auto", "coco", "mpii", "crowdpose"}));
  app.add_option("--categories", o.categories, "categories to keep: ids or names, or `all`")->type_name("ID|NAME...");
  if (modern) {
    // Options take effect in the order in which they are added, so flags that are added later override the preset.
    app.add_option_function<std::string>(
           "--recipe",
           [&o, modern](const std::string& name) {
             o.recipe = name;
             if (name == "modern") modern();
           },
           "training recipe: official (as published with HRNet), seed (of the PyTorch project that this one follows) "
           "or modern (AdamW, warm-up, cosine schedule, clipping, averaged weights, UDP, photometric changes and "
           "dropped rectangles; other flags change single values of it)")
        ->default_str(o.recipe)
        ->check(CLI::IsMember({"official", "seed", "modern"}));
  } else {
    app.add_option(
           "--recipe", o.recipe,
           "training recipe: official (as published with HRNet) or seed (of the PyTorch project that this one follows)")
        ->check(CLI::IsMember({"official", "seed"}));
  }
  app.add_option("--on-bad-sample", o.on_bad_sample,
                 flags == DataFlags::training
                     ? "what to do with pictures and annotations that cannot be used: fail, or skip and list them "
                       "[default: fail in the check before the start, skip afterwards]"
                     : "what to do with pictures and annotations that cannot be used: fail, or skip and list them "
                       "[default: fail]")
      ->check(CLI::IsMember({"fail", "skip"}));
  app.add_option("--max-megapixels", o.max_megapixels,
                 "most megapixels of a picture; larger ones are refused before they take memory")
      ->type_name("X")
      ->check(CLI::Range(0.001, 16384.0));
  if (flags == DataFlags::training) add_target_options(app, o);
}

void print_note(const std::string& text) { fmt::print("note       {}\n", with_flags(text)); }

void check_samples_visibly(PoseDataset& dataset, const DataOptions& o, const std::string& split, const fs::path& folder,
                           int threads, bool quiet) {
  std::optional<Progress> progress;
  const auto show = [&](size_t done, size_t all) {
    if (quiet) return;
    if (!progress) progress.emplace(fmt::format("checking {}", split), static_cast<int64_t>(all));
    progress->update(static_cast<int64_t>(done));
  };
  const auto remark = [&](const std::string& text) {
    if (progress) progress->finish();
    if (!quiet) print_note(text);
  };
  const std::string left_out = check_samples(dataset, o, split, folder, threads, show, remark);
  if (progress) progress->finish();
  if (!left_out.empty() && !quiet) fmt::print("left out   {}\n", left_out);
}

}  // namespace hr
