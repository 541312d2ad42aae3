#include "tools/programs/pack.h"

#include "core/counted.h"
#include "core/error.h"
#include "data/pack/pack.h"
#include "tools/cli/cli.h"
#include "tools/cli/progress.h"

namespace hr {
namespace {

std::string size_text(uint64_t bytes) {
  return bytes >= 10'000'000'000 ? fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9)
                                 : fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

void describe_pack(const fs::path& path) {
  const Pack pack(path);
  const Skeleton& skeleton = pack.skeleton();
  fmt::print("{}: {}, skeleton {} ({})\n", path.string(), size_text(fs::file_size(path)), skeleton.name,
             counted(skeleton.joints(), "joint"));
  for (const std::string& split : pack.splits()) {
    const PackLimits& l = pack.limits(split);
    const PackSize size = pack.size(split);
    fmt::print("  {:<6} {}, {} in {}, {} of pixels\n", split, counted_people(size.people),
               counted(size.pictures, "picture"), counted(size.blocks, "part"), size_text(size.bytes));
    fmt::print("         {} recipe, input {} x {} or any of this ratio, {}\n",
               l.recipe == Recipe::seed ? "seed" : "official", l.input_h, l.input_w,
               l.augment ? fmt::format("margin for --scale-factor {} --rot-factor {}{}", l.scale, l.rotation,
                                       l.half_body ? "" : " --prob-half-body 0")
                         : "without augmentation");
  }
}

void make_pack(const PackOptions& o) {
  check(!o.output.empty(), "expected --output FILE to write a pack, or --info FILE or --verify FILE to read one");
  const fs::path output(o.output), folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  check(!is_pack(o.data_path), "--data-path {} is a pack already; name the dataset that it was made from", o.data_path);
  prepare_output_folder(folder, "output");
  const Skeleton skeleton = data_skeleton(o, o.keypoints_path, "train", print_note);
  std::vector<PoseDataset> sets;
  sets.reserve(o.splits.size());
  std::vector<PackInput> inputs;
  PackSize all;
  for (const std::string& split : o.splits) {
    DatasetOptions options = dataset_options(o, o.fixed_size[0], o.fixed_size[1], 2, split == "train");
    options.substitute_bad = o.on_bad_sample == "skip";
    PoseDataset& set = sets.emplace_back(open_split(o, split, skeleton, options));
    check_samples_visibly(set, o, split, folder, o.threads);
    inputs.push_back({split, &set});
    const PackSize size = pack_size(set);
    fmt::print("{:<10} {} ({}): {} in {}, {}\n", split, set.size(), set.counts().summary(),
               counted(size.pictures, "picture"), counted(size.blocks, "part"), size_text(size.bytes));
    all.bytes += size.bytes;
  }
  std::fflush(stdout);
  const fs::space_info disk = fs::space(folder);
  check(disk.available > all.bytes + (all.bytes >> 4),
        "--output {}: the pack needs {}, but the disk has {} free; pack fewer --splits, or use less margin "
        "(--scale-factor, --rot-factor)",
        o.output, size_text(all.bytes), size_text(disk.available));
  Progress progress("packing", static_cast<int64_t>(all.bytes >> 10));
  write_pack(output, inputs, o.threads, [&](uint64_t bytes) { progress.update(static_cast<int64_t>(bytes >> 10)); });
  progress.update(static_cast<int64_t>(all.bytes >> 10));
  progress.finish();
  for (const PackInput& input : inputs) {
    if (input.dataset->bad().size() > 0) input.dataset->bad().write(bad_samples_file(folder, input.name));
  }
  describe_pack(output);
}

void verify_pack(const fs::path& path) {
  const Pack pack(path);
  uint64_t all = 0;
  for (const std::string& split : pack.splits()) all += pack.size(split).bytes;
  Progress progress("verifying", static_cast<int64_t>(all >> 10));
  pack.verify([&](uint64_t bytes) { progress.update(static_cast<int64_t>(bytes >> 10)); });
  progress.update(static_cast<int64_t>(all >> 10));
  progress.finish();
  fmt::print("{}: every checksum is correct\n", path.string());
}

}  // namespace

void add_pack_options(CLI::App& app, PackOptions& o) {
  describe(app,
           "Packs a dataset into one file that is memory-mapped: the decoded parts of its pictures that crops can "
           "show, with a margin for augmentation, the annotations and the skeleton. `train --data-path FILE` trains "
           "from it, at any input size of the same ratio, with the same results as from the pictures.",
           "pack --data-path /data/coco2017 --output coco.pack\npack --info coco.pack");
  app.add_option("--output", o.output, "pack to write")->type_name("FILE");
  app.add_option("--splits", o.splits, "splits to pack; train gets a margin for augmentation, val does not")
      ->type_name("NAME...")
      ->check(CLI::IsMember({"train", "val"}));
  add_fixed_size(app, o.fixed_size);
  app.add_option("--keypoints-path", o.keypoints_path,
                 "skeleton: a built-in name (coco, mpii, ...), a file, or `categories` for the annotation file's own")
      ->type_name("NAME|FILE");
  add_data_options(app, o, DataFlags::plain);
  app.add_option("--scale-factor", o.scale_factor, "margin: largest --scale-factor that training will use")
      ->type_name("X")
      ->check(CLI::Range(0.0, 0.9));
  app.add_option("--rot-factor", o.rot_factor, "margin: largest --rot-factor that training will use, in degrees")
      ->type_name("X")
      ->check(CLI::Range(0.0, 90.0));
  app.add_option("--prob-half-body", o.prob_half_body, "margin: 0 leaves out what only crops of half bodies show")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--info", o.info, "describe this pack and do nothing else")->type_name("FILE");
  app.add_option("--verify", o.verify, "check every checksum of this pack and do nothing else")->type_name("FILE");
  add_threads(app, o.threads);
}

void pack(const PackOptions& o) {
  if (!o.info.empty()) return describe_pack(o.info);
  if (!o.verify.empty()) return verify_pack(o.verify);
  make_pack(o);
}

}  // namespace hr
