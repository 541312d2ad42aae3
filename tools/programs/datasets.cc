#include "tools/programs/datasets.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/io/json_cursor.h"
#include "data/pack/pack.h"
#include "eval/coco_files.h"
#include "eval/remarks.h"
#include "tools/programs/cli.h"
#include "tools/programs/progress.h"

namespace hr {
namespace {

using Kind = SplitFiles::Kind;

std::string joined(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

// Whether the first image of an annotation file has a crowdIndex, without reading the rest.
bool looks_like_crowdpose(const fs::path& path) {
  const MappedFile file(path);
  JsonCursor json(file.text(), path.string());
  if (json.kind() != JsonCursor::Kind::object) return false;
  json.enter_object();
  for (std::string_view section; json.member(section);) {
    if (section != "images" || json.kind() != JsonCursor::Kind::list) {
      json.skip();
      continue;
    }
    json.enter_list();
    if (!json.item() || json.kind() != JsonCursor::Kind::object) return false;
    json.enter_object();
    for (std::string_view key; json.member(key);) {
      if (key == "crowdIndex") return true;
      json.skip();
    }
    return false;
  }
  return false;
}

// The file whose categories --categories names; a pack has ids only.
std::vector<int64_t> asked_categories(const DataOptions& o, const std::string& split) {
  const bool names = std::ranges::any_of(o.categories, [](const std::string& text) {
    return text != "all" && text.find_first_not_of("0123456789-") != std::string::npos;
  });
  if (!names || reads_pack(o, split)) return category_ids(o.categories, fs::path());
  return category_ids(o.categories, find_split(o, split).annotations);
}

// Why not a single annotation has the skeleton's joints: the file may describe a skeleton of its own.
std::string other_skeleton(const fs::path& annotations, const Skeleton& skeleton) {
  try {
    const Skeleton own = category_skeleton(read_coco_categories(annotations), annotations.string());
    if (own.joints() == skeleton.joints()) return "";
    return fmt::format(
        "; its categories describe {} joints ({}, ...) and the skeleton {} has {}: take the file's with "
        "--keypoints-path categories",
        own.joints(), own.names.front(), skeleton.name, skeleton.joints());
  } catch (const Error&) {
    return "";  // it describes none
  }
}

}  // namespace

const char* kind_name(Kind kind) {
  return kind == Kind::mpii ? "mpii" : kind == Kind::crowdpose ? "crowdpose" : "coco";
}

bool reads_pack(const DataOptions& o, const std::string& split) {
  return (split == "train" ? o.train_annotations : o.val_annotations).empty() && is_pack(o.data_path);
}

SplitFiles find_split(const DataOptions& o, const std::string& split) {
  const bool train = split == "train", any = o.dataset == "auto";
  const fs::path root = o.data_path;
  const auto wants = [&](Kind kind) { return any || o.dataset == kind_name(kind); };
  SplitFiles files{.annotations = train ? o.train_annotations : o.val_annotations,
                   .images = train ? o.train_images : o.val_images};
  const bool named = !files.annotations.empty();
  struct Layout {
    Kind kind;
    std::string annotations;
  };
  const std::string crowd = train ? "trainval" : "test";
  std::vector<std::string> tried;
  for (const Layout& layout : {Layout{Kind::coco, fmt::format("annotations/person_keypoints_{}2017.json", split)},
                               Layout{Kind::coco, fmt::format("annotations/coco_wholebody_{}_v1.0.json", split)},
                               Layout{Kind::mpii, fmt::format("annot/{}.json", train ? "train" : "valid")},
                               Layout{Kind::crowdpose, fmt::format("annotations/mmpose_crowdpose_{}.json", crowd)},
                               Layout{Kind::crowdpose, fmt::format("json/crowdpose_{}.json", crowd)},
                               Layout{Kind::crowdpose, fmt::format("crowdpose_{}.json", crowd)}}) {
    if (!wants(layout.kind)) continue;
    tried.push_back(layout.annotations);
    if (!files.annotations.empty() || !fs::exists(root / layout.annotations)) continue;
    files.kind = layout.kind;
    files.annotations = root / layout.annotations;
  }
  if (!named || files.images.empty()) {
    check(fs::is_directory(root),
          "--data-path {}: no such folder; expected a pack, or a folder with pictures and one of {}", o.data_path,
          joined(tried));
  }
  check(!files.annotations.empty(),
        "--data-path {}: no annotations of {} there (looked for {}); name the file with "
        "--{}-annotations",
        o.data_path, split, joined(tried), split);
  if (named) {
    check(fs::exists(files.annotations), "--{}-annotations {}: does not exist", split, files.annotations.string());
    files.kind = !any                                      ? (wants(Kind::mpii)        ? Kind::mpii
                                                              : wants(Kind::crowdpose) ? Kind::crowdpose
                                                                                       : Kind::coco)
                 : is_mpii(files.annotations)              ? Kind::mpii
                 : looks_like_crowdpose(files.annotations) ? Kind::crowdpose
                                                           : Kind::coco;
  }
  const bool images_named = !files.images.empty();
  std::vector<std::string> places = {"images", "images.zip"};
  if (files.kind == Kind::coco) {
    places = {split + "2017", split + "2017.zip", "images/" + split + "2017", "images/" + split + "2017.zip", "images"};
  }
  for (const std::string& place : places) {
    if (files.images.empty() && fs::exists(root / place)) files.images = root / place;
  }
  check(!files.images.empty(), "--data-path {}: no pictures there (looked for {}); name them with --{}-images",
        o.data_path, joined(places), split);
  check(!images_named || fs::exists(files.images), "--{}-images {}: does not exist", split, files.images.string());
  return files;
}

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

void add_data_options(CLI::App& app, DataOptions& o, DataFlags flags) {
  app.add_option("--data-path", o.data_path,
                 "a pack (see `pack`), or a folder with train2017/, val2017/ (or train2017.zip ...) and annotations/")
      ->type_name("DIR|PACK");
  for (const auto& [split, annotations, images] : {std::tuple{"train", &o.train_annotations, &o.train_images},
                                                   std::tuple{"val", &o.val_annotations, &o.val_images}}) {
    if (flags == DataFlags::validation && annotations == &o.train_annotations) continue;
    app.add_option(fmt::format("--{}-annotations", split), *annotations,
                   "annotation file (COCO's format or MPII's list), instead of the one in --data-path")
        ->type_name("FILE");
    app.add_option(fmt::format("--{}-images", split), *images, "folder or zip of pictures, instead of --data-path's")
        ->type_name("DIR|ZIP");
  }
  app.add_option("--dataset", o.dataset, "layout of --data-path: coco, mpii or crowdpose; auto looks at the files")
      ->check(CLI::IsMember({"auto", "coco", "mpii", "crowdpose"}));
  app.add_option("--categories", o.categories, "categories to keep: ids or names, or `all`")->type_name("ID|NAME...");
  app.add_option("--recipe", o.recipe,
                 "official (HRNet's published recipe) or seed (the PyTorch project this one follows)")
      ->check(CLI::IsMember({"official", "seed"}));
  app.add_option(
         "--on-bad-sample", o.on_bad_sample,
         flags == DataFlags::training
             ? "pictures and annotations that cannot be used: fail, or skip and list them [default: fail in the check "
               "before the start, skip afterwards]"
             : "pictures and annotations that cannot be used: fail, or skip and list them [default: fail]")
      ->check(CLI::IsMember({"fail", "skip"}));
  app.add_option("--max-megapixels", o.max_megapixels, "larger pictures are refused before they take memory")
      ->type_name("X")
      ->check(CLI::Range(0.001, 16384.0));
  if (flags != DataFlags::training) return;
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

Skeleton data_skeleton(const DataOptions& o, const std::string& keypoints_path, const std::string& split) {
  if (reads_pack(o, split)) {
    Skeleton packed = Pack(o.data_path).skeleton();
    if (keypoints_path.empty() || keypoints_path == "categories") return packed;
    Skeleton asked = find_skeleton(keypoints_path);
    check(asked.joints() == packed.joints(), "--keypoints-path {}: {} joints, but {} was packed with {} ({})",
          keypoints_path, asked.joints(), o.data_path, packed.joints(), packed.name);
    return asked;
  }
  if (keypoints_path == "categories") {
    const SplitFiles files = find_split(o, split);
    if (files.kind == SplitFiles::Kind::mpii) return built_in_skeleton("mpii");
    int dropped = 0;
    const auto ids = asked_categories(o, split);
    Skeleton skeleton = category_skeleton(read_coco_categories(files.annotations), files.annotations.string(),
                                          ids.size() == 1 ? ids[0] : 0, &dropped);
    if (dropped > 0) {
      fmt::print("note       {}: {} that do not exist and are not drawn\n", skeleton.name,
                 dropped == 1 ? "1 limb points to joints" : fmt::format("{} limbs point to joints", dropped));
    }
    return skeleton;
  }
  if (keypoints_path.empty()) {
    const std::string& named = split == "train" ? o.train_annotations : o.val_annotations;
    const fs::path annotations =
        !named.empty() ? fs::path(named)
                       : fs::path(o.data_path) / "annot" / (split == "train" ? "train.json" : "valid.json");
    if (fs::is_regular_file(annotations) && is_mpii(annotations)) return built_in_skeleton("mpii");
  }
  return find_skeleton(keypoints_path);
}

DatasetOptions dataset_options(const DataOptions& o, int input_h, int input_w, double sigma, bool augment, bool bgr,
                               const std::string& split) {
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
          .categories = asked_categories(o, split),
          .max_pixels = static_cast<int64_t>(o.max_megapixels * 1e6),
          .substitute_bad = o.on_bad_sample != "fail",
          .refuse_damaged = !o.on_bad_sample.empty()};
}

PoseDataset open_split(const DataOptions& o, const std::string& split, const Skeleton& skeleton, DatasetOptions dataset,
                       const DetectedBoxes& boxes, std::string* doubt) {
  if (reads_pack(o, split)) {
    check(boxes.file.empty(), "--person-det {}: a pack holds the annotated people; name the folder in --data-path",
          boxes.file);
    return Pack(o.data_path).dataset(split, dataset);
  }
  const SplitFiles files = find_split(o, split);
  if (files.kind == Kind::mpii) {
    check(boxes.file.empty(), "--person-det {}: MPII comes with its own places of people", boxes.file);
    // The official recipe for MPII has none, and its data have no boxes that one could be told from.
    dataset.augmentation.half_body = 0;
    return PoseDataset::from_mpii(read_mpii(files.annotations, skeleton.joints()), files.images, skeleton,
                                  std::move(dataset));
  }
  BadSamples bad;
  const auto take_bad = [&](PoseDataset& set) {
    for (auto& entry : bad.entries()) set.bad().add(std::move(entry));
  };
  if (!boxes.file.empty()) {
    CocoAnnotations pictures = has_annotations(files.annotations)
                                   ? read_coco(files.annotations, skeleton.joints(), &bad, dataset.categories)
                                   : read_image_list(files.annotations);
    const std::vector<CocoDetection> detections = read_coco_detections(boxes.file);
    check(!detections.empty(), "--person-det {}: the list of detections is empty; there is nobody to look at",
          boxes.file);
    if (doubt != nullptr) *doubt = detector_doubt(detections, pictures, boxes.file);
    PoseDataset out = PoseDataset::from_detections(std::move(pictures), detections, files.images, skeleton,
                                                   std::move(dataset), boxes.least_score);
    take_bad(out);
    return out;
  }
  CocoAnnotations annotations = read_coco(files.annotations, skeleton.joints(), &bad, dataset.categories);
  if (annotations.annotations.empty() && bad.size() > 0) {
    const std::string first = bad.entries()[0].message;
    const bool without_joints = first.find("no keypoints;") != std::string::npos;
    fail("{} (and so {} all of the {} annotations{}{})", first, without_joints ? "it is with" : "are", bad.size(),
         other_skeleton(files.annotations, skeleton),
         without_joints ? "; is this an instances file instead of person_keypoints?" : "");
  }
  PoseDataset out = PoseDataset::from_annotations(std::move(annotations), files.images, skeleton, std::move(dataset));
  take_bad(out);
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
