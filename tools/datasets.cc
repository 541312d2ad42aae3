#include "tools/datasets.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "data/pack.h"
#include "tools/cli.h"
#include "tools/progress.h"

namespace hr {
namespace {

struct Paths {
  fs::path annotations, images;
};

// The first of these that exists; Error with all of them.
fs::path first_there(const DataOptions& o, const std::string& what, const std::string& flag,
                     const std::vector<std::string>& candidates) {
  std::string tried;
  for (const std::string& name : candidates) {
    fs::path path = fs::path(o.data_path) / name;
    if (fs::exists(path)) return path;
    tried += (tried.empty() ? "" : ", ") + name;
  }
  fail("--data-path {}: no {} there (looked for {}); name {} with --{}", o.data_path, what, tried,
       what == "pictures" ? "them" : "the file", flag);
}

Paths find_split(const DataOptions& o, const std::string& split) {
  const bool train = split == "train";
  Paths paths{train ? o.train_annotations : o.val_annotations, train ? o.train_images : o.val_images};
  if (paths.annotations.empty() || paths.images.empty()) {
    check(fs::is_directory(o.data_path),
          "--data-path {}: no such folder; expected a pack, or a folder with {}2017/ and annotations/ in it",
          o.data_path, split);
  }
  if (paths.annotations.empty()) {
    paths.annotations = first_there(o, "annotations of " + split, split + "-annotations",
                                    {fmt::format("annotations/person_keypoints_{}2017.json", split),
                                     fmt::format("annotations/coco_wholebody_{}_v1.0.json", split),
                                     fmt::format("annot/{}.json", train ? "train" : "valid")});
  }
  if (paths.images.empty()) {
    paths.images = is_mpii(paths.annotations)
                       ? first_there(o, "pictures", split + "-images", {"images", "images.zip"})
                       : first_there(o, "pictures", split + "-images",
                                     {split + "2017", split + "2017.zip", "images/" + split + "2017",
                                      "images/" + split + "2017.zip", "images"});
  }
  return paths;
}

// The file whose categories --categories names; a pack has ids only.
std::vector<int64_t> asked_categories(const DataOptions& o) {
  const bool names = std::ranges::any_of(o.categories, [](const std::string& text) {
    return text != "all" && text.find_first_not_of("0123456789-") != std::string::npos;
  });
  if (!names || is_pack(o.data_path)) return hr::category_ids(o.categories, fs::path());
  return hr::category_ids(o.categories, find_split(o, "train").annotations);
}

}  // namespace

std::vector<int64_t> category_ids(const std::vector<std::string>& texts, const fs::path& annotations) {
  std::vector<int64_t> ids;
  for (const std::string& text : texts) {
    if (text == "all") {
      check(texts.size() == 1, "--categories: `all` and single ids contradict each other");
      return {};
    }
    int64_t id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error == std::errc() && end == text.data() + text.size()) {
      ids.push_back(id);
      continue;
    }
    check(!annotations.empty(), "--categories {}: expected ids, or `all`", text);
    std::string there;
    bool found = false;
    for (const CocoCategory& category : read_coco_categories(annotations)) {
      if (category.name == text) ids.push_back(category.id);
      found = found || category.name == text;
      there += fmt::format("{}{} ({})", there.empty() ? "" : ", ", category.id, category.name);
    }
    check(found, "--categories {}: {} has no category of this name; it has {}", text, annotations.string(),
          there.empty() ? "none" : there);
  }
  return ids;
}

void add_data_options(CLI::App& app, DataOptions& o, bool plain) {
  app.add_option("--data-path", o.data_path,
                 "a pack (see `pack`), or a folder with train2017/, val2017/ (or train2017.zip ...) and annotations/")
      ->type_name("DIR|PACK");
  for (const auto& [split, annotations, images] : {std::tuple{"train", &o.train_annotations, &o.train_images},
                                                   std::tuple{"val", &o.val_annotations, &o.val_images}}) {
    app.add_option(fmt::format("--{}-annotations", split), *annotations,
                   "annotation file (COCO's format or MPII's list), instead of the one in --data-path")
        ->type_name("FILE");
    app.add_option(fmt::format("--{}-images", split), *images, "folder or zip of pictures, instead of --data-path's")
        ->type_name("DIR|ZIP");
  }
  app.add_option("--categories", o.categories, "categories to keep: ids or names, or `all`")->type_name("ID|NAME...");
  app.add_option("--recipe", o.recipe,
                 "official (HRNet's published recipe) or seed (the PyTorch project this one follows)")
      ->check(CLI::IsMember({"official", "seed"}));
  app.add_option(
         "--on-bad-sample", o.on_bad_sample,
         "pictures and annotations that cannot be used: fail, or skip and list them [default: fail in the check "
         "before the start, skip afterwards]")
      ->check(CLI::IsMember({"fail", "skip"}));
  app.add_option("--max-megapixels", o.max_megapixels, "larger pictures are refused before they take memory")
      ->type_name("X")
      ->check(CLI::Range(0.001, 16384.0));
  if (plain) return;
  add_seed(app, o.seed);
  app.add_option(
         "--codec", o.codec,
         "how joints become heatmaps: quarter (HRNet's), dark (at the joint itself) or udp (with its own crops)")
      ->check(CLI::IsMember({"quarter", "dark", "udp"}));
  app.add_option("--cache-mib", o.cache_mib, "memory for decoded parts of pictures; those that fit are decoded once")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--no-augment", o.no_augment, "plain crops");
  app.add_option("--scale-factor", o.scale_factor, "augmentation: spread of the scale")
      ->type_name("X")
      ->check(CLI::Range(0.0, 0.9));
  app.add_option("--rot-factor", o.rot_factor, "augmentation: spread of the rotation in degrees")
      ->type_name("X")
      ->check(CLI::Range(0.0, 90.0));
  app.add_option("--prob-half-body", o.prob_half_body, "augmentation: share of people cropped to half their body")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--photometric", o.photometric,
                 "augmentation, in neither recipe: strength of changes of brightness, contrast, saturation and hue")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--coarse-dropout", o.coarse_dropout,
                 "augmentation, in neither recipe: share of crops with black rectangles in them")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
}

Skeleton data_skeleton(const DataOptions& o, const std::string& keypoints_path) {
  if (is_pack(o.data_path)) {
    Skeleton packed = Pack(o.data_path).skeleton();
    if (keypoints_path.empty()) return packed;
    Skeleton asked = find_skeleton(keypoints_path);
    check(asked.joints() == packed.joints(), "--keypoints-path {}: {} joints, but {} was packed with {} ({})",
          keypoints_path, asked.joints(), o.data_path, packed.joints(), packed.name);
    return asked;
  }
  if (keypoints_path == "categories") {
    const Paths paths = find_split(o, "train");
    int dropped = 0;
    const auto ids = asked_categories(o);
    Skeleton skeleton = category_skeleton(read_coco_categories(paths.annotations), paths.annotations.string(),
                                          ids.size() == 1 ? ids[0] : 0, &dropped);
    if (dropped > 0) {
      fmt::print("note       {}: {} limbs point to joints that do not exist; they are not drawn\n", skeleton.name,
                 dropped);
    }
    return skeleton;
  }
  if (keypoints_path.empty()) {
    const fs::path annotations =
        !o.train_annotations.empty() ? fs::path(o.train_annotations) : fs::path(o.data_path) / "annot" / "train.json";
    if (fs::is_regular_file(annotations) && is_mpii(annotations)) return built_in_skeleton("mpii");
  }
  return find_skeleton(keypoints_path);
}

DatasetOptions dataset_options(const DataOptions& o, int input_h, int input_w, double sigma, bool augment, bool bgr) {
  return {.recipe = o.recipe == "seed" ? Recipe::seed : Recipe::official,
          .input_h = input_h,
          .input_w = input_w,
          .sigma = sigma,
          .augment = augment && !o.no_augment,
          .seed = o.seed,
          .augmentation = {.scale = o.scale_factor,
                           .rotation = o.rot_factor,
                           .half_body = o.prob_half_body,
                           .photometric = o.photometric,
                           .dropout = o.coarse_dropout},
          .bgr = bgr,
          .cache_bytes = static_cast<size_t>(o.cache_mib) << 20,
          .encoding = parse_encoding(o.codec),
          .categories = asked_categories(o),
          .max_pixels = static_cast<int64_t>(o.max_megapixels * 1e6),
          .substitute_bad = o.on_bad_sample != "fail",
          .refuse_damaged = !o.on_bad_sample.empty()};
}

PoseDataset open_split(const DataOptions& o, const std::string& split, const Skeleton& skeleton, DatasetOptions dataset,
                       const std::string& person_det) {
  const bool named = split == "train" ? !o.train_annotations.empty() : !o.val_annotations.empty();
  if (!named && is_pack(o.data_path)) {
    check(person_det.empty(), "--person-det {}: a pack holds the annotated people; name the folder in --data-path",
          person_det);
    return Pack(o.data_path).dataset(split, dataset);
  }
  const Paths paths = find_split(o, split);
  if (is_mpii(paths.annotations)) {
    check(person_det.empty(), "--person-det {}: MPII comes with its own places of people", person_det);
    // The official recipe for MPII has none, and its data have no boxes that one could be told from.
    dataset.augmentation.half_body = 0;
    return PoseDataset::from_mpii(read_mpii(paths.annotations, skeleton.joints()), paths.images, skeleton,
                                  std::move(dataset));
  }
  BadSamples bad;
  CocoAnnotations annotations = read_coco(paths.annotations, skeleton.joints(), &bad);
  const size_t entries = annotations.annotations.size() + bad.size();
  check(!annotations.annotations.empty() || entries == 0, "{} (and so are all of the {} annotations)",
        bad.size() > 0 ? bad.entries()[0].message : "", entries);
  PoseDataset out =
      person_det.empty()
          ? PoseDataset::from_annotations(std::move(annotations), paths.images, skeleton, std::move(dataset))
          : PoseDataset::from_detections(std::move(annotations), read_coco_detections(person_det), paths.images,
                                         skeleton, std::move(dataset));
  for (auto& entry : bad.entries()) out.bad().add(std::move(entry));
  return out;
}

fs::path bad_samples_file(const fs::path& folder, const std::string& split) {
  return folder / fmt::format("bad_samples_{}.tsv", split);
}

void check_samples(PoseDataset& dataset, const DataOptions& o, const std::string& split, const fs::path& folder,
                   int threads, bool quiet) {
  {
    std::optional<Progress> progress;
    dataset.check_pictures(threads, [&](size_t done, size_t all) {
      if (quiet) return;
      if (!progress) progress.emplace(fmt::format("checking {}", split), static_cast<int64_t>(all));
      progress->update(static_cast<int64_t>(done));
    });
    if (progress) progress->finish();
  }
  if (!quiet) {
    for (const std::string& remark : dataset.remarks()) fmt::print("note       {}\n", remark);
  }
  const BadSamples& bad = dataset.bad();
  if (bad.size() == 0) return;
  std::string list;
  if (!folder.empty()) {
    bad.write(bad_samples_file(folder, split));
    list = fmt::format("; the list is {}", bad_samples_file(folder, split).string());
  }
  const auto entries = bad.entries();
  const bool turned = entries[0].cause == BadSamples::Cause::turned;
  const std::string other_recipe = o.recipe == "seed" ? "official" : "seed";
  check(o.on_bad_sample == "skip", "{}{} ({}: {} cannot be used{}; --on-bad-sample skip leaves them out)",
        entries[0].message, turned ? ": use --recipe " + other_recipe : "", split, bad.summary(), list);
  dataset.drop_bad();
  if (!quiet) fmt::print("left out   {} of {}{}\n", bad.summary(), split, list);
}

}  // namespace hr
