#include "data/find_dataset.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/io/json_cursor.h"
#include "data/pack/pack.h"

namespace hr {
namespace {

using Kind = SplitFiles::Kind;

std::string joined(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

// Tells whether the first image of an annotation file has a crowdIndex. The rest of the file is not read.
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

// Returns the ids of the categories in the options. Names are looked up in the annotation file; a pack contains only
// ids.
std::vector<int64_t> asked_categories(const DataOptions& o, const std::string& split) {
  const bool names = std::ranges::any_of(o.categories, [](const std::string& text) {
    return text != "all" && text.find_first_not_of("0123456789-") != std::string::npos;
  });
  if (!names || reads_pack(o, split)) return category_ids(o.categories, fs::path());
  return category_ids(o.categories, find_split(o, split).annotations);
}

// Explains why no annotation at all has the number of joints of the skeleton, if the file describes another skeleton.
// Otherwise returns an empty text.
std::string other_skeleton(const fs::path& annotations, const Skeleton& skeleton) {
  try {
    const Skeleton own = category_skeleton(read_coco_categories(annotations), annotations.string());
    if (own.joints() == skeleton.joints()) return "";
    return fmt::format(
        "; its categories describe {} joints ({}, ...) and the skeleton {} has {}: take the file's with "
        "`keypoints_path` categories",
        own.joints(), own.names.front(), skeleton.name, skeleton.joints());
  } catch (const Error&) {
    return "";  // The file describes no skeleton.
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
    check_field(fs::is_directory(root), "data_path",
                "{}: no such folder; expected a pack, or a folder with pictures and one of {}", o.data_path,
                joined(tried));
  }
  check_field(!files.annotations.empty(), "data_path",
              "{}: no annotations of {} there (looked for {}); name the file with `{}_annotations`", o.data_path, split,
              joined(tried), split);
  if (named) {
    check_field(fs::exists(files.annotations), train ? "train_annotations" : "val_annotations", "{}: does not exist",
                files.annotations.string());
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
  check_field(!files.images.empty(), "data_path", "{}: no pictures there (looked for {}); name them with `{}_images`",
              o.data_path, joined(places), split);
  check_field(!images_named || fs::exists(files.images), train ? "train_images" : "val_images", "{}: does not exist",
              files.images.string());
  return files;
}

std::vector<int64_t> category_ids(const std::vector<std::string>& texts, const fs::path& annotations) {
  std::vector<int64_t> ids;
  for (const std::string& text : texts) {
    if (text == "all") {
      check_field(texts.size() == 1, "categories", "all and single ids contradict each other");
      return {};
    }
    int64_t id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error == std::errc() && end == text.data() + text.size()) {
      ids.push_back(id);
      continue;
    }
    check_field(!annotations.empty(), "categories", "{}: expected ids, or all", text);
    std::string there;
    bool found = false;
    for (const CocoCategory& category : read_coco_categories(annotations)) {
      if (category.name == text) ids.push_back(category.id);
      found = found || category.name == text;
      there += fmt::format("{}{} ({})", there.empty() ? "" : ", ", category.id, category.name);
    }
    check_field(found, "categories", "{}: {} has no category of this name; it has {}", text, annotations.string(),
                there.empty() ? "none" : there);
  }
  return ids;
}

Skeleton data_skeleton(const DataOptions& o, const std::string& keypoints_path, const std::string& split,
                       const Remark& remark) {
  if (reads_pack(o, split)) {
    Skeleton packed = Pack(o.data_path).skeleton();
    if (keypoints_path.empty() || keypoints_path == "categories") return packed;
    Skeleton asked = find_skeleton(keypoints_path);
    check_field(asked.joints() == packed.joints(), "keypoints_path", "{}: {} joints, but {} was packed with {} ({})",
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
    if (dropped > 0 && remark) {
      remark(fmt::format("{}: {} that do not exist and are not drawn", skeleton.name,
                         dropped == 1 ? "1 limb points to joints" : fmt::format("{} limbs point to joints", dropped)));
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

bool has_crowd_index(const CocoAnnotations& gt) {
  return !gt.images.empty() && std::ranges::all_of(gt.images, [](const CocoImage& i) { return i.crowd_index >= 0; });
}

Skeleton skeleton_of(const CocoAnnotations& gt, bool crowdpose) {
  if (crowdpose) return built_in_skeleton("crowdpose");
  const auto named = std::ranges::find_if(gt.categories, [](const CocoCategory& c) { return !c.keypoints.empty(); });
  if (named == gt.categories.end()) return coco_skeleton();
  return skeleton_from_names(named->keypoints, named->skeleton, gt.path);
}

double heatmap_sigma(double asked, int input_h) { return asked > 0 ? asked : input_h >= 384 ? 3.0 : 2.0; }

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
                           .half_body_min_joints = o.half_body_joints,
                           .flip = o.mirror,
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
                       const DetectedBoxes& boxes) {
  if (reads_pack(o, split)) {
    check_field(boxes.file.empty(), "person_det",
                "{}: a pack holds the annotated people; name the folder in `data_path`", boxes.file);
    return Pack(o.data_path).dataset(split, dataset);
  }
  const SplitFiles files = find_split(o, split);
  if (files.kind == Kind::mpii) {
    check_field(boxes.file.empty(), "person_det", "{}: MPII comes with its own places of people", boxes.file);
    // The official recipe for MPII has no half-body augmentation, and its data have no boxes to make half a body from.
    dataset.augmentation.half_body = 0;
    return PoseDataset::from_mpii(read_mpii(files.annotations, skeleton.joints()), files.images, skeleton,
                                  std::move(dataset));
  }
  BadSamples bad;
  const auto take_bad = [&](PoseDataset& set) {
    for (auto& entry : bad.entries()) set.bad().add(std::move(entry));
  };
  if (!boxes.file.empty()) {
    CocoAnnotations pictures =
        boxes.pictures ? *boxes.pictures : read_coco(files.annotations, skeleton.joints(), &bad, dataset.categories);
    check_field(!boxes.boxes.empty(), "person_det", "{}: the list of detections is empty; there is nobody to look at",
                boxes.file);
    PoseDataset out = PoseDataset::from_detections(std::move(pictures), boxes.boxes, files.images, skeleton,
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

std::string check_samples(PoseDataset& dataset, const DataOptions& o, const std::string& split, const fs::path& folder,
                          int threads, const std::function<void(size_t done, size_t all)>& progress,
                          const Remark& remark) {
  dataset.check_pictures(threads, progress);
  if (remark) {
    for (const std::string& line : dataset.remarks()) remark(line);
  }
  const BadSamples& bad = dataset.bad();
  if (bad.size() == 0) return "";
  std::string list;
  if (!folder.empty()) {
    bad.write(bad_samples_file(folder, split));
    list = fmt::format("; the list is {}", bad_samples_file(folder, split).string());
  }
  const auto entries = bad.entries();
  const bool turned = entries[0].cause == BadSamples::Cause::turned;
  const std::string other_recipe = o.recipe == "seed" ? "official" : "seed";
  check(o.on_bad_sample == "skip", "{}{} ({}: {} cannot be used{}; `on_bad_sample` skip leaves them out)",
        entries[0].message, turned ? ": use `recipe` " + other_recipe : "", split, bad.summary(), list);
  dataset.drop_bad();
  return fmt::format("{} of {}{}", bad.summary(), split, list);
}

}  // namespace hr
