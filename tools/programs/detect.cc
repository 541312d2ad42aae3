#include "tools/programs/detect.h"

#include <algorithm>
#include <chrono>

#include "core/counted.h"
#include "core/error.h"
#include "hrnet/train/precision.h"
#include "tools/cli/flag_names.h"
#include "tools/cli/model_options.h"
#include "tools/cli/progress.h"
#include "tools/detect/detect_work.h"

namespace hr {

void detect(const DetectOptions& options) {
  DetectOptions o = options;
  if (o.classes == std::vector<std::string>{"all"}) o.classes.clear();
  check(o.inputs.empty() != o.data_path.empty(), "expected either pictures or folders, or a dataset with --data-path");
  check(o.input_size.empty() ||
            std::ranges::all_of(o.input_size, [](int v) { return v >= 32 && v <= 4096 && v % 32 == 0; }),
        "--input-size {}: expected height and width from 32 to 4096, multiples of 32", fmt::join(o.input_size, " "));
  const DetectWork work = detect_work(o);
  ModelOptions network;
  network.weights = o.detector;
  network.device = o.device;
  network.threads = o.threads;
  network.precision = o.precision;
  network.amp = o.amp;
  settle_precision(network, {}, print_remark);
  DetectorOptions detector_options{
      .confidence = o.confidence, .nms = o.nms, .at_most = o.at_most, .classes = o.classes};
  if (!o.input_size.empty()) detector_options.input_h = o.input_size[0], detector_options.input_w = o.input_size[1];
  if (!o.preprocessing.empty())
    detector_options.input = o.preprocessing == "bgr" ? YoloxInput::bgr_255 : YoloxInput::rgb_normalised;
  PersonDetector detector(
      make_context(
          {.device = o.device, .amp = network.amp, .threads = o.threads, .exact = o.exact, .listener = print_remark}),
      o.detector, detector_options);
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
        if (unreadable++ == 0) first_unreadable = with_flags(e.what());
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
  check(read > 0, "none of {} could be read; the first error: {}", counted(work.images.size(), "picture"),
        first_unreadable);
  write_file(o.output, results_json(boxes, work.truth ? nullptr : &work.images));
  fmt::print("{} in {}: wrote {} ({:.1f} ms per picture in the detector)\n", counted(boxes.size(), "box", "boxes"),
             counted(read, "picture"), o.output, 1000 * seconds / static_cast<double>(read));
  if (unreadable > 0) {
    fmt::print(stderr, "note: {} could not be read; the first error: {}\n", counted(unreadable, "picture"),
               first_unreadable);
  }
  // The boxes are measured as they stand in the file, so that coco_eval gives the same numbers.
  if (work.truth) measure_boxes(*work.truth, boxes.empty() ? boxes : read_coco_detections(o.output), o, detector);
}

}  // namespace hr
