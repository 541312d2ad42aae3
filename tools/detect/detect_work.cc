#include "tools/detect/detect_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json_write.h"
#include "core/parallel.h"
#include "data/draw/draw.h"
#include "data/formats/find_pictures.h"
#include "eval/box_eval.h"
#include "eval/results.h"
#include "tools/cli/flag_names.h"

namespace hr {
namespace {

// Lists the pictures that are named, and those inside named folders in alphabetical order. Ids count from 1.
DetectWork listed(const std::vector<std::string>& inputs) {
  DetectWork work{.source = open_pictures(""), .images = {}, .truth = {}};
  const FoundPictures found = find_pictures(inputs);
  if (!found.left_out.empty()) {
    fmt::print(stderr, "note: {} left out, because only JPEG, PNG, BMP, GIF and PNM are read: {}\n",
               counted(found.left_out.size(), "file"), some_names(found.left_out));
  }
  for (const fs::path& path : found.pictures) {
    work.images.push_back({.id = static_cast<int64_t>(work.images.size()) + 1, .file_name = path.string()});
  }
  return work;
}

// Returns the first of these places that exists.
fs::path first_existing(const std::vector<fs::path>& places, const std::string& what) {
  for (const fs::path& place : places) {
    if (fs::exists(place)) return place;
  }
  std::string list;
  for (const fs::path& place : places) list += (list.empty() ? "" : ", ") + place.string();
  fail("no {}; expected one of {}", what, list);
}

// Finds a dataset in COCO's layout. If only people are looked for, they are compared with person_keypoints_*, other
// categories with instances_*.
DetectWork of_dataset(const DetectOptions& o) {
  const fs::path root = o.data_path;
  const bool people = o.classes == std::vector<std::string>{"person"};
  const auto file = [&](const char* kind) {
    return root / "annotations" / fmt::format("{}_{}2017.json", kind, o.split);
  };
  const fs::path annotations = !o.annotations.empty() ? fs::path(o.annotations)
                               : people               ? first_existing({file("person_keypoints"), file("instances")},
                                                                       "annotations (name them with --annotations)")
                                        : first_existing({file("instances")}, "annotations (name them: --annotations)");
  const std::string folder = o.split + "2017";
  const fs::path images = !o.images.empty()
                              ? fs::path(o.images)
                              : first_existing({root / folder, root / "images" / folder, root / (folder + ".zip"),
                                                root / "images" / (folder + ".zip")},
                                               "pictures (name their folder with --images)");
  CocoAnnotations truth = read_coco(annotations);
  return {.source = open_pictures(images), .images = truth.images, .truth = std::move(truth)};
}

}  // namespace

DetectWork detect_work(const DetectOptions& o) { return o.data_path.empty() ? listed(o.inputs) : of_dataset(o); }

std::string results_json(const std::vector<CocoDetection>& boxes, const std::vector<CocoImage>* names) {
  std::string text;
  JsonWriter json(text, {.lines = 1, .indent = 0});
  json.begin_list();
  for (const CocoDetection& d : boxes) {
    json.begin_object().member("image_id", d.image_id);
    if (names != nullptr) {
      json.member("file_name", fs::path((*names)[d.image_id - 1].file_name).filename().string());
    }
    json.member("category_id", d.category_id);
    const auto pixels = [](double v) { return JsonFixed{v, 3}; };
    json.member("bbox", std::array{pixels(d.box.x), pixels(d.box.y), pixels(d.box.w), pixels(d.box.h)});
    json.member("score", JsonFixed{d.score, 6}).end();
  }
  json.end();
  return text + "\n";
}

void draw_boxes(Image image, std::span<const DetectedBox> found, const YoloxShape& shape, double threshold,
                const fs::path& path) {
  const Color color{255, 140, 0};
  const float line = std::max(2.0F, static_cast<float>(std::min(image.width, image.height)) / 200);
  for (const DetectedBox& f : found) {
    if (f.score < threshold) continue;
    const auto x = static_cast<float>(f.box.x), y = static_cast<float>(f.box.y);
    draw_rectangle(image, x, y, static_cast<float>(f.box.w), static_cast<float>(f.box.h), line, color);
    const std::string text = fmt::format("{} {:.2f}", class_name(shape, f.label), f.score);
    const float size = 4 * line;
    const TextSize extent = text_size(text, size);
    const float top = std::max(0.0F, y - extent.height - line), left = std::max(0.0F, x);
    fill_rectangle(image, left, top, extent.width + line, extent.height + line, color);
    draw_text(image, left + line / 2, top + line / 2, text, size, {0, 0, 0});
  }
  write_image(path, image);
}

void measure_boxes(const CocoAnnotations& truth, const std::vector<CocoDetection>& boxes, const DetectOptions& o,
                   const PersonDetector& detector) {
  if (boxes.empty()) {
    fmt::print(stderr, "note: nothing was found, so nothing is measured\n");
    return;
  }
  std::vector<int64_t> categories;
  if (!o.classes.empty()) {
    for (int label = 0; label < detector.info().shape.classes; ++label) {
      const int64_t id = class_category(detector.info().shape, label);
      const bool known = std::ranges::any_of(truth.categories, [&](const CocoCategory& c) { return c.id == id; });
      const std::string name = class_name(detector.info().shape, label);
      const bool asked =
          std::ranges::any_of(o.classes, [&](const std::string& c) { return c == name || c == std::to_string(label); });
      if (known && asked) categories.push_back(id);
    }
    if (categories.empty()) {
      fmt::print(stderr, "note: {} has no category that was looked for, so nothing is measured\n", truth.path);
      return;
    }
  }
  const BoxEvalResult r = evaluate_boxes(
      truth, boxes, {.categories = categories, .threads = compute_threads(), .detections_name = o.output});
  fmt::print("{}\n", box_summary(r));
  std::fflush(stdout);
  if (const std::string remarks = box_remarks(r); !remarks.empty()) fmt::print(stderr, "{}\n", with_flags(remarks));
}

}  // namespace hr
