#include "tools/programs/browse.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/counted.h"
#include "core/error.h"
#include "data/draw/draw.h"
#include "tools/browse/sheet_pictures.h"
#include "tools/cli/cli.h"

namespace hr {

void add_browse_options(CLI::App& app, BrowseOptions& o) {
  describe(app,
           "Shows a dataset as the network sees it: contact sheets of crops with joints (hidden ones hollow), of "
           "target heatmaps and of augmented crops, and a summary of people, joints, sizes and what was dropped.",
           "browse --data-path demo/data --output browse\nbrowse --data-path coco.pack --split val");
  app.add_option("--output", o.output, "folder for crops.png, targets.png, draws.png, summary.txt")->type_name("DIR");
  app.add_option("--split", o.split, "split to show: train or val")->check(CLI::IsMember({"train", "val"}));
  app.add_option("--people", o.people, "number of people, chosen at random (--seed)")
      ->type_name("N")
      ->check(CLI::Range(1, 400));
  app.add_option("--draws", o.draws, "number of augmented crops of each person in draws.png")
      ->type_name("N")
      ->check(CLI::Range(1, 20));
  add_fixed_size(app, o.fixed_size);
  app.add_option("--sigma", o.sigma,
                 "sigma of the target heatmaps in heatmap pixels; 0: 2, or 3 from an input height of 384 on")
      ->type_name("X");
  app.add_option("--keypoints-path", o.keypoints_path,
                 "skeleton: a built-in name (coco, mpii, ...), a file, or `categories` for the annotation file's own")
      ->type_name("NAME|FILE");
  add_data_options(app, o);
  add_threads(app, o.threads);
}

void browse(const BrowseOptions& o) {
  prepare_output_folder(o.output, "output");
  const fs::path folder = o.output;
  const Skeleton skeleton = data_skeleton(o, o.keypoints_path, o.split, print_note);
  const int h = o.fixed_size[0], w = o.fixed_size[1];
  const double sigma = heatmap_sigma(o.sigma, h);
  // A packed validation split has no margin for augmentation.
  const bool augment = !o.no_augment;
  DataOptions flags = o;
  // browse is used to find bad samples, so it does not stop at them.
  if (flags.on_bad_sample.empty()) flags.on_bad_sample = "skip";
  PoseDataset plain = open_split(flags, o.split, skeleton, dataset_options(flags, h, w, sigma, false, false, o.split));
  check_samples_visibly(plain, flags, o.split, folder, o.threads);
  const std::string summary = summarize(plain);
  fmt::print("{}", summary);
  std::fflush(stdout);
  write_file(folder / "summary.txt", summary);

  std::vector<size_t> chosen(plain.size());
  std::iota(chosen.begin(), chosen.end(), size_t{0});
  Philox random(o.seed, 1, 0);
  const size_t count = std::min<size_t>(chosen.size(), static_cast<size_t>(o.people));
  for (size_t i = 0; i < count; ++i) std::swap(chosen[i], chosen[i + random.below(chosen.size() - i)]);
  chosen.resize(count);

  std::vector<Image> crops, targets;
  std::vector<std::string> captions;
  for (const size_t i : chosen) {
    const Person& person = plain.people()[i];
    const Placement placement = plain.placed(i, 0).placement;
    const Image crop = plain.crop(i, 0);
    crops.push_back(with_joints(crop, skeleton, placement));
    targets.push_back(with_targets(crop, plain.sample(i, 0), skeleton.joints()));
    size_t labelled = 0;
    for (size_t k = 2; k < person.joints.size(); k += 3) labelled += static_cast<size_t>(person.joints[k] > 0);
    captions.push_back(fmt::format("{}: {}", person.annotation_id, counted(labelled, "joint")));
  }
  const int columns = std::clamp(static_cast<int>(std::ceil(std::sqrt(1.5 * static_cast<double>(count)))), 1, 8);
  write_image(folder / "crops.png", contact_sheet(crops, captions, columns, w, h));
  write_image(folder / "targets.png", contact_sheet(targets, captions, columns, w, h));
  fmt::print("wrote {0}/crops.png, {0}/targets.png, {0}/summary.txt\n", folder.string());
  if (!augment) return;

  PoseDataset drawn = open_split(flags, o.split, skeleton, dataset_options(flags, h, w, sigma, true, false, o.split));
  for (auto& entry : plain.bad().entries()) drawn.bad().add(std::move(entry));
  drawn.drop_bad();
  std::vector<Image> rows;
  captions.clear();
  for (size_t k = 0; k < std::min<size_t>(count, 8); ++k) {
    const size_t i = chosen[k];
    rows.push_back(crops[k]);
    captions.push_back(fmt::format("{}: plain", plain.people()[i].annotation_id));
    for (int draw = 0; draw < o.draws; ++draw) {
      const auto placed = drawn.placed(i, static_cast<uint64_t>(draw));
      rows.push_back(with_joints(drawn.crop(i, static_cast<uint64_t>(draw)), skeleton, placed.placement));
      captions.push_back(what_was_drawn(placed.augmentation));
    }
  }
  write_image(folder / "draws.png", contact_sheet(rows, captions, o.draws + 1, w, h));
  fmt::print("wrote {}/draws.png\n", folder.string());
}

}  // namespace hr
