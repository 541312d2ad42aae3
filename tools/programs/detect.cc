#include "tools/programs/detect.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json.h"
#include "core/parallel.h"
#include "data/draw/draw.h"
#include "data/formats/pictures.h"
#include "eval/box_eval.h"
#include "eval/results.h"
#include "hrnet/infer/person_detector.h"
#include "tools/programs/cli.h"
#include "tools/programs/infer.h"
#include "tools/programs/progress.h"

namespace hr {
namespace {

// What is looked at: pictures with ids, and the truth about them where there is one.
struct Work {
  std::shared_ptr<const PictureSource> source;
  std::vector<CocoImage> images;
  std::optional<CocoAnnotations> truth;
};

// Pictures named outright, and those inside named folders in alphabetical order; ids count from 1.
Work listed(const std::vector<std::string>& inputs) {
  const std::set<std::string> endings{".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm"};
  Work work{.source = open_pictures(""), .images = {}, .truth = {}};
  const auto add = [&](const fs::path& path) {
    work.images.push_back({.id = static_cast<int64_t>(work.images.size()) + 1, .file_name = path.string()});
  };
  for (const std::string& input : inputs) {
    check(fs::exists(input), "{}: no such file or folder", input);
    if (!fs::is_directory(input)) {
      add(input);
      continue;
    }
    std::vector<fs::path> inside;
    for (const auto& entry : fs::directory_iterator(input)) {
      std::string ending = entry.path().extension().string();
      std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
      if (entry.is_regular_file() && endings.count(ending) != 0) inside.push_back(entry.path());
    }
    check(!inside.empty(), "{}: no pictures in this folder; expected .jpg or .png files", input);
    std::sort(inside.begin(), inside.end());
    for (const fs::path& path : inside) add(path);
  }
  return work;
}

// The first of these that exists.
fs::path first_existing(const std::vector<fs::path>& places, const std::string& what) {
  for (const fs::path& place : places) {
    if (fs::exists(place)) return place;
  }
  std::string list;
  for (const fs::path& place : places) list += (list.empty() ? "" : ", ") + place.string();
  fail("no {}; expected one of {}", what, list);
}

// A data set in COCO's layout. People alone are measured against person_keypoints_*, other things against instances_*.
Work of_dataset(const DetectOptions& o) {
  const fs::path root = o.data_path;
  const bool people = o.classes == std::vector<std::string>{"person"};
  const auto file = [&](const char* kind) {
    return root / "annotations" / fmt::format("{}_{}2017.json", kind, o.split);
  };
  const fs::path annotations =
      !o.annotations.empty() ? fs::path(o.annotations)
      : people ? first_existing({file("person_keypoints"), file("instances")}, "annotations (name them: --annotations)")
               : first_existing({file("instances")}, "annotations (name them: --annotations)");
  const std::string folder = o.split + "2017";
  const fs::path images = !o.images.empty()
                              ? fs::path(o.images)
                              : first_existing({root / folder, root / "images" / folder, root / (folder + ".zip"),
                                                root / "images" / (folder + ".zip")},
                                               "pictures (name their folder: --images)");
  CocoAnnotations truth = read_coco(annotations);
  return {.source = open_pictures(images), .images = truth.images, .truth = std::move(truth)};
}

// A COCO result file: boxes with three decimals of a pixel, scores with six.
std::string results_json(const std::vector<CocoDetection>& boxes, const std::vector<CocoImage>* names) {
  std::string json = "[";
  for (const CocoDetection& d : boxes) {
    json += json.size() > 1 ? ",\n" : "\n";
    json += fmt::format("{{\"image_id\": {}, ", d.image_id);
    if (names != nullptr) {
      const std::string name = fs::path((*names)[d.image_id - 1].file_name).filename().string();
      json += fmt::format("\"file_name\": {}, ", json_quote(name));
    }
    json += fmt::format("\"category_id\": {}, \"bbox\": [{:.3f}, {:.3f}, {:.3f}, {:.3f}], \"score\": {:.6f}}}",
                        d.category_id, d.box.x, d.box.y, d.box.w, d.box.h, d.score);
  }
  return json + "\n]\n";
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

// The twelve numbers, of the categories that were looked for and that the truth has.
void measure(const CocoAnnotations& truth, const std::vector<CocoDetection>& boxes, const DetectOptions& o,
             const PersonDetector& detector) {
  if (boxes.empty()) {
    fmt::print(stderr, "note: nothing was found, so there is nothing to measure\n");
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
  if (const std::string remarks = box_remarks(r); !remarks.empty()) fmt::print(stderr, "{}\n", remarks);
}

}  // namespace

void add_detect_options(CLI::App& app, DetectOptions& o) {
  describe(app,
           "Finds people (or other things) in pictures with a YOLOX network: writes a COCO result file of boxes, and "
           "measures them where the truth is known.",
           "detect holiday/ --detector yolox_s.pth --output det.json --draw boxes\n"
           "detect --data-path coco --split val --detector yolox_s.pth --output det.json\n"
           "validate --data-path coco --person-det det.json --weights pose_hrnet_w32_256x192.pth");
  app.add_option("inputs", o.inputs, "pictures, or folders of pictures")->type_name("FILE");
  app.add_option("--data-path", o.data_path, "instead: a data set in COCO's layout; its image ids are written")
      ->type_name("DIR");
  app.add_option("--split", o.split, "of the data set: val, train, ...")->type_name("NAME");
  app.add_option("--annotations", o.annotations, "the data set's annotation file, where it has another name")
      ->type_name("FILE");
  app.add_option("--images", o.images, "the data set's pictures, a folder or a zip file, where they have another name")
      ->type_name("DIR");
  app.add_option("--detector", o.detector, "YOLOX weights: nano, tiny, s, m, l or x, as published (.pth)")
      ->required()
      ->type_name("FILE");
  app.add_option("--output", o.output, "file to write")->type_name("FILE");
  app.add_option("--draw", o.draw, "folder for pictures with the boxes drawn on them")->type_name("DIR");
  app.add_option("--draw-threshold", o.draw_threshold, "boxes with at least this score are drawn")->type_name("X");
  app.add_option("--classes", o.classes, "what to look for: names or numbers of classes, or all")
      ->delimiter(',')
      ->type_name("NAME");
  app.add_option("--confidence", o.confidence,
                 "least score that is written; 0.001 is for measuring, 0.1 to 0.3 for use")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--nms", o.nms, "of two boxes of a class with a larger IoU the worse one goes")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--at-most", o.at_most, "boxes of one class in a picture")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--input-size", o.input_size,
                 "height and width of the network's input, multiples of 32 [default: the weights': 416 416 for nano "
                 "and tiny, 640 640, 608 1088 for ByteTrack's]")
      ->expected(2)
      ->type_name("H W");
  app.add_option("--preprocessing", o.preprocessing,
                 "bgr (0 to 255) or rgb (normalised, as weights before 0.1.1 and ByteTrack's want it) [default: told "
                 "by the weights of the stem]")
      ->check(CLI::IsMember({"bgr", "rgb"}));
  app.add_option("--batch-size", o.batch_size, "pictures per step")->type_name("N")->check(CLI::PositiveNumber);
  app.add_flag("--amp", o.amp, "bf16 activations");
  add_device(app, o.device);
  add_threads(app, o.threads);
}

void detect(const DetectOptions& options) {
  DetectOptions o = options;
  if (o.classes == std::vector<std::string>{"all"}) o.classes.clear();
  check(o.inputs.empty() != o.data_path.empty(),
        "expected pictures or folders, or a data set with --data-path, and not both");
  check(o.input_size.empty() ||
            std::ranges::all_of(o.input_size, [](int v) { return v >= 32 && v <= 4096 && v % 32 == 0; }),
        "--input-size {}: expected height and width from 32 to 4096, multiples of 32", fmt::join(o.input_size, " "));
  const Work work = o.data_path.empty() ? listed(o.inputs) : of_dataset(o);
  DetectorOptions detector_options{
      .confidence = o.confidence, .nms = o.nms, .at_most = o.at_most, .classes = o.classes};
  if (!o.input_size.empty()) detector_options.input_h = o.input_size[0], detector_options.input_w = o.input_size[1];
  if (!o.preprocessing.empty())
    detector_options.input = o.preprocessing == "bgr" ? YoloxInput::bgr_255 : YoloxInput::rgb_normalised;
  PersonDetector detector(make_context(o.device, o.amp, o.threads), o.detector, detector_options);
  const YoloxShape& shape = detector.info().shape;
  fmt::print("detector   {}: {}, input {} x {}, {}\n", o.detector, detector.info().describe(), detector.input_h(),
             detector.input_w(), detector.input() == YoloxInput::bgr_255 ? "BGR 0 to 255" : "RGB normalised");
  if (!o.draw.empty()) fs::create_directories(o.draw);

  std::vector<CocoDetection> boxes;
  std::vector<std::byte> scratch;
  int64_t unreadable = 0;
  std::string first_unreadable;
  double seconds = 0;
  Progress progress("detect", static_cast<int64_t>(work.images.size()));
  for (size_t begin = 0; begin < work.images.size(); begin += static_cast<size_t>(o.batch_size)) {
    const size_t end = std::min(work.images.size(), begin + static_cast<size_t>(o.batch_size));
    std::vector<Image> pictures;
    std::vector<size_t> index;
    for (size_t i = begin; i < end; ++i) {
      const std::string& name = work.images[i].file_name;
      try {
        pictures.push_back(decode_image(work.source->read(name, scratch), work.source->place(name)));
        index.push_back(i);
      } catch (const OutOfMemory&) {
        throw;
      } catch (const Error& e) {
        if (work.images.size() == 1) throw;
        if (unreadable++ == 0) first_unreadable = e.what();
      }
    }
    const std::vector<ImageView> views(pictures.begin(), pictures.end());
    const auto start = std::chrono::steady_clock::now();
    const auto found = detector(views);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (size_t i = 0; i < found.size(); ++i) {
      const CocoImage& image = work.images[index[i]];
      for (const DetectedBox& f : found[i]) {
        boxes.push_back({.image_id = image.id,
                         .category_id = class_category(shape, f.label),
                         .box = f.box,
                         .keypoints = {},
                         .score = f.score,
                         .has_box = true});
      }
      if (!o.draw.empty()) {
        const fs::path name = fs::path(image.file_name).stem();
        draw_boxes(std::move(pictures[i]), found[i], shape, o.draw_threshold,
                   fs::path(o.draw) / (name.string() + "_boxes.jpg"));
      }
    }
    progress.update(static_cast<int64_t>(end));
  }
  progress.finish();
  const auto read = static_cast<int64_t>(work.images.size()) - unreadable;
  check(read > 0, "none of {} could be read; the first: {}", counted(work.images.size(), "picture"), first_unreadable);
  write_file(o.output, results_json(boxes, work.truth ? nullptr : &work.images));
  fmt::print("{} in {}: wrote {} ({:.1f} ms a picture in the detector)\n", counted(boxes.size(), "box", "boxes"),
             counted(read, "picture"), o.output, 1000 * seconds / static_cast<double>(read));
  if (unreadable > 0) {
    fmt::print(stderr, "note: {} could not be read; the first: {}\n", counted(unreadable, "picture"), first_unreadable);
  }
  // The file is measured as it was written, so that coco_eval gives the same.
  if (work.truth) measure(*work.truth, boxes.empty() ? boxes : read_coco_detections(o.output), o, detector);
}

}  // namespace hr
