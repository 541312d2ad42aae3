#include "hrnet/infer/person_detector.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/loop_schedule.h"
#include "core/parallel.h"
#include "core/planned_step.h"
#include "data/crops/letterbox.h"
#include "hrnet/int8/file.h"
#include "hrnet/model/make_context.h"
#include "hrnet/train/precision.h"
#include "ops/conv/backend.h"

namespace hr {
namespace {

constexpr std::array<std::string_view, 80> kCocoNames = {
    "person",         "bicycle",    "car",           "motorcycle",    "airplane",     "bus",           "train",
    "truck",          "boat",       "traffic light", "fire hydrant",  "stop sign",    "parking meter", "bench",
    "bird",           "cat",        "dog",           "horse",         "sheep",        "cow",           "elephant",
    "bear",           "zebra",      "giraffe",       "backpack",      "umbrella",     "handbag",       "tie",
    "suitcase",       "frisbee",    "skis",          "snowboard",     "sports ball",  "kite",          "baseball bat",
    "baseball glove", "skateboard", "surfboard",     "tennis racket", "bottle",       "wine glass",    "cup",
    "fork",           "knife",      "spoon",         "bowl",          "banana",       "apple",         "sandwich",
    "orange",         "broccoli",   "carrot",        "hot dog",       "pizza",        "donut",         "cake",
    "chair",          "couch",      "potted plant",  "bed",           "dining table", "toilet",        "tv",
    "laptop",         "mouse",      "remote",        "keyboard",      "cell phone",   "microwave",     "oven",
    "toaster",        "sink",       "refrigerator",  "book",          "clock",        "vase",          "scissors",
    "teddy bear",     "hair drier", "toothbrush"};
// COCO's category ids run from 1 to 90 with gaps.
constexpr std::array<int, 80> kCocoIds = {
    1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 27, 28, 31,
    32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59,
    60, 61, 62, 63, 64, 65, 67, 70, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 84, 85, 86, 87, 88, 89, 90};

constexpr uint8_t kGrey = 114;

std::vector<uint8_t> wanted_classes(const std::vector<std::string>& asked, const YoloxInfo& info,
                                    const fs::path& weights) {
  const int classes = info.shape.classes;
  if (asked.empty()) return std::vector<uint8_t>(static_cast<size_t>(classes), 1);
  std::vector<uint8_t> wanted(static_cast<size_t>(classes), 0);
  for (const std::string& name : asked) {
    int label = 0;
    const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), label);
    if (code != std::errc() || end != name.data() + name.size()) {
      label = 0;
      while (label < classes && class_name(info.shape, label) != name) ++label;
    }
    if (label < 0 || label >= classes) {
      std::vector<std::string> names;
      for (int i = 0; i < classes; ++i) names.push_back(class_name(info.shape, i));
      fail("{}: has no class '{}'; it has {}", weights.string(), name,
           names[0].empty() ? fmt::format("classes without names, 0 to {}", classes - 1)
                            : fmt::format("{}", fmt::join(names, ", ")));
    }
    wanted[label] = 1;
  }
  return wanted;
}

// A box by its corners, decoded in float32 like in the official code.
struct Candidate {
  float x0, y0, x1, y1, score;
  int label;
  float area() const { return (x1 - x0) * (y1 - y0); }
};

float overlap(const Candidate& a, const Candidate& b) {
  const float w = std::max(0.0F, std::min(a.x1, b.x1) - std::max(a.x0, b.x0));
  const float h = std::max(0.0F, std::min(a.y1, b.y1) - std::max(a.y0, b.y0));
  const float common = w * h;
  return common / (a.area() + b.area() - common);
}

// Returns the rows with a score of at least `confidence`, in the order of the output.
std::vector<Candidate> candidates(std::span<const float> output, int h, int w, std::span<const uint8_t> wanted,
                                  float confidence) {
  const size_t columns = 5 + wanted.size();
  std::vector<Candidate> list;
  const float* row = output.data();
  for (const int stride : {8, 16, 32}) {
    const auto s = static_cast<float>(stride);
    for (int y = 0; y < h / stride; ++y) {
      for (int x = 0; x < w / stride; ++x, row += columns) {
        // No class has a probability above 1, so most rows end here.
        if (row[4] < confidence) continue;
        const float* best = std::max_element(row + 5, row + columns);
        const float score = row[4] * *best;
        const auto label = static_cast<int>(best - (row + 5));
        if (!(score >= confidence) || wanted[label] == 0) continue;
        const float cx = (row[0] + static_cast<float>(x)) * s, cy = (row[1] + static_cast<float>(y)) * s;
        const float width = std::exp(row[2]) * s, height = std::exp(row[3]) * s;
        list.push_back({cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2, score, label});
      }
    }
  }
  return list;
}

}  // namespace

std::array<int, 2> detector_input(const YoloxInfo& info) {
  if (info.shape.classes == 1 && info.input() == YoloxInput::rgb_normalised) return {608, 1088};
  return info.shape.stem < 32 ? std::array{416, 416} : std::array{640, 640};
}

std::string class_name(const YoloxShape& shape, int label) {
  if (shape.classes == 1) return "person";
  return shape.classes == 80 && label >= 0 && label < 80 ? std::string(kCocoNames.at(static_cast<size_t>(label))) : "";
}

int64_t class_category(const YoloxShape& shape, int label) {
  return shape.classes == 80 ? kCocoIds.at(static_cast<size_t>(label)) : label + 1;
}

void detector_picture(const ImageView& picture, YoloxInput input, int h, int w, std::span<float> out) {
  check(out.size() == static_cast<size_t>(h) * w * 3, "detector: expected memory for {} x {} x 3 numbers, got {}", h, w,
        out.size());
  const Letterbox box = letterbox_for(picture.width, picture.height, w, h);
  const Image inner = resized_bilinear(picture, box.inner_w, box.inner_h);
  const bool plain = input == YoloxInput::bgr_255;
  std::array<uint8_t, 3> grey = {kGrey, kGrey, kGrey};
  std::array<float, 3> around = {kGrey, kGrey, kGrey};
  if (!plain) normalize_row(grey.data(), 1, around.data());
  parallel_for(h, static_cast<int64_t>(out.size()), [&](int64_t line) {
    const auto y = static_cast<int>(line);
    float* to = out.data() + static_cast<size_t>(y) * w * 3;
    int x = 0;
    if (y < inner.height) {
      const uint8_t* from = inner.at(0, y);
      x = inner.width;
      if (plain) {
        for (int i = 0; i < inner.width; ++i) {
          for (int c = 0; c < 3; ++c) to[3 * i + c] = from[3 * i + 2 - c];
        }
      } else {
        normalize_row(from, static_cast<size_t>(inner.width), to);
      }
    }
    for (; x < w; ++x) std::copy_n(around.data(), 3, to + static_cast<ptrdiff_t>(x) * 3);
  });
}

std::vector<DetectedBox> decode_boxes(std::span<const float> output, int h, int w, double scale,
                                      std::span<const uint8_t> wanted, const DetectorOptions& options) {
  check(output.size() == static_cast<size_t>(Yolox::anchors(h, w)) * (5 + wanted.size()),
        "detector: expected {} rows of {} numbers for an input of {} x {}, got {} numbers", Yolox::anchors(h, w),
        5 + wanted.size(), h, w, output.size());
  std::vector<Candidate> list = candidates(output, h, w, wanted, static_cast<float>(options.confidence));
  std::ranges::stable_sort(list, std::greater(), &Candidate::score);
  std::vector<Candidate> kept;
  std::vector<int> of_class(wanted.size(), 0);
  for (const Candidate& c : list) {
    if (of_class[c.label] >= options.at_most) continue;
    const bool covered = std::ranges::any_of(kept, [&](const Candidate& better) {
      return better.label == c.label && static_cast<double>(overlap(better, c)) > options.nms;
    });
    if (covered) continue;
    kept.push_back(c);
    ++of_class[c.label];
  }
  std::vector<DetectedBox> boxes;
  const auto r = static_cast<float>(scale);
  for (const Candidate& c : kept) {
    const float x0 = c.x0 / r, y0 = c.y0 / r, x1 = c.x1 / r, y1 = c.y1 / r;
    boxes.push_back({{x0, y0, x1 - x0, y1 - y0}, c.score, c.label});
  }
  return boxes;
}

namespace {
Context context_of(const fs::path& weights, const DetectorOptions& o) {
  ModelOptions m;
  m.weights = weights.string();
  m.device = o.device;
  m.precision = o.precision;
  m.amp = o.bf16;
  settle_precision(m, {}, [](const std::string&) {});
  return make_context({.device = o.device, .amp = m.amp, .exact = o.exact});
}
}  // namespace

PersonDetector::PersonDetector(const fs::path& weights, const DetectorOptions& options)
    : PersonDetector(context_of(weights, options), weights, options) {}

PersonDetector::PersonDetector(const Context& cx, const fs::path& weights, const DetectorOptions& options)
    : cx_(cx), options_(options) {
  const WeightFile file(weights);
  if (is_int8(file) && yolox_info(file)) {
    eight_bits_ = load_int8_detector(cx_, file);
  } else {
    network_ = load_yolox(cx_, file);
  }
  info_ = *yolox_info(file);
  wanted_ = wanted_classes(options.classes, info_, weights);
  if (!options_.input) options_.input = info_.input();
  const auto [h, w] = detector_input(info_);
  if (options_.input_h == 0) options_.input_h = h;
  if (options_.input_w == 0) options_.input_w = w;
  check(options_.input_h > 0 && options_.input_w > 0 && options_.input_h % 32 == 0 && options_.input_w % 32 == 0,
        "detector: the input's height and width must be multiples of 32, got {} x {}", options_.input_h,
        options_.input_w);
}

// The memory of inputs and outputs whose addresses the recorded loops have, and these loops.
struct PersonDetector::Plan {
  // Later use makes chains longer, and more memory passes through the caches.
  static constexpr size_t kReuseAfter = 4;

  explicit Plan(const std::shared_ptr<Allocator>& memory) : step(memory) { step.reuse_after(kReuseAfter); }

  Tensor images, table;
  PlannedStep step;
  LoopSchedule schedule;
};

PersonDetector::~PersonDetector() = default;
PersonDetector::PersonDetector(PersonDetector&&) noexcept = default;
PersonDetector& PersonDetector::operator=(PersonDetector&&) noexcept = default;

// Recording pays for the small network, whose loops take some 20 microseconds each.
bool PersonDetector::records_loops() const {
  return network_ != nullptr && info_.shape.depthwise && !cx_.device.is_cuda() && cx_.precision == DType::f32 &&
         cx_.profile == nullptr;
}

// Returns memory for n pictures as the network reads them.
Tensor PersonDetector::images_for(int64_t n) {
  const int h = options_.input_h, w = options_.input_w;
  if (!records_loops()) return cx_.empty({n, h, w, 3}, DType::f32);
  if (plan_ == nullptr || plan_->images.dim(0) != n) {
    plan_.reset();
    plan_ = std::make_unique<Plan>(cx_.allocator);
    plan_->images = cx_.empty({n, h, w, 3}, DType::f32);
    plan_->table = cx_.empty({n, Yolox::anchors(h, w), 5 + static_cast<int64_t>(wanted_.size())}, DType::f32);
    conv_backend(cx_);  // All steps share the backend, which keeps the packed filters.
  }
  return plan_->images;
}

// `images` are those of images_for().
Tensor PersonDetector::forward(const Tensor& images) {
  if (eight_bits_ != nullptr) return eight_bits_->run(cx_, images);
  if (!records_loops()) return network_->forward(cx_, images);
  plan_->step(cx_, plan_->schedule, 0, [&](Context& step) { network_->forward(step, images, plan_->table); });
  return plan_->table;
}

std::vector<DetectedBox> PersonDetector::operator()(const ImageView& picture) {
  return std::move((*this)(std::span(&picture, 1))[0]);
}

std::vector<std::vector<DetectedBox>> PersonDetector::operator()(std::span<const ImageView> pictures) {
  std::vector<std::vector<DetectedBox>> found;
  if (pictures.empty()) return found;
  for (const ImageView& picture : pictures) {
    check(picture.width > 0 && picture.height > 0 && picture.region.contains({0, 0, picture.width, picture.height}),
          "detector: expected all pixels of a picture, got {} of {} x {}", picture.region.area(), picture.width,
          picture.height);
  }
  const int h = options_.input_h, w = options_.input_w;
  const auto n = static_cast<int64_t>(pictures.size());
  const size_t each = static_cast<size_t>(h) * w * 3;
  const bool on_cpu = !cx_.device.is_cuda();
  const Tensor images = images_for(n);
  // On the CPU the pictures are written into the input and the boxes read from the output without copies.
  std::vector<float> copy(on_cpu ? 0 : each * pictures.size());
  const std::span<float> numbers = on_cpu ? std::span(images.data<float>(), each * pictures.size()) : std::span(copy);
  const auto place = [&](int64_t i) {
    detector_picture(pictures[i], *options_.input, h, w, numbers.subspan(i * each, each));
  };
  // The work on a single picture is itself divided among the threads. That does not happen within a parallel_for, where
  // OpenMP would start new threads for it.
  if (n == 1) {
    place(0);
  } else {
    parallel_for(n, static_cast<int64_t>(numbers.size()), place);
  }
  if (!on_cpu) cx_.upload(images, std::as_bytes(numbers));
  const Tensor table = forward(images);
  if (!on_cpu) copy = to_host(cx_, table);
  const std::span<const float> output =
      on_cpu ? std::span<const float>(table.data<float>(), static_cast<size_t>(table.numel()))
             : std::span<const float>(copy);
  const size_t rows = output.size() / pictures.size();
  for (size_t i = 0; i < pictures.size(); ++i) {
    const Letterbox box = letterbox_for(pictures[i].width, pictures[i].height, w, h);
    found.push_back(decode_boxes(output.subspan(i * rows, rows), h, w, box.scale, wanted_, options_));
    for (DetectedBox& f : found.back()) f.category = class_category(info_.shape, f.label);
  }
  return found;
}

}  // namespace hr
