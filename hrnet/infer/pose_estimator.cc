#include "hrnet/infer/pose_estimator.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <mutex>

#include "core/counted.h"
#include "core/crop_slot.h"
#include "core/error.h"
#include "core/threads.h"
#include "data/crops/crop_writer.h"
#include "eval/nms.h"
#include "hrnet/infer/heatmap_runner.h"
#include "hrnet/infer/pose_network.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/model/load.h"
#include "hrnet/model/make_context.h"
#include "hrnet/train/precision.h"

namespace hr {
namespace {

Skeleton choose_skeleton(const WeightFile& file, const std::string& asked, int joints) {
  const auto carried = file.metadata().find("skeleton");
  Skeleton skeleton = !asked.empty() ? find_skeleton(asked)
                      : carried != file.metadata().end()
                          ? skeleton_from_text(carried->second, file.path().string() + ": its skeleton")
                          : coco_skeleton();
  check(skeleton.joints() == joints,
        "{}: the network has {}, but the skeleton {} has {}; name the skeleton that the network was trained with",
        file.path().string(), counted(joints, "joint"), skeleton.name, skeleton.joints());
  return skeleton;
}

int checked_side(const char* name, int side) {
  check(side >= 32 && side <= 4096 && side % 32 == 0, "{} is {}; expected a multiple of 32 from 32 to 4096", name,
        side);
  return side;
}

// The official score is the score of the box times the mean score of the joints above 0.2. A pose without such a joint
// would get 0, and weak poses could not be told apart. It gets the mean over all joints instead.
double pose_score(std::span<const float> numbers, double box_score) {
  const double score = rescore_official(numbers, box_score, 0.2);
  if (score != 0) return score;
  double sum = 0;
  for (size_t k = 2; k < numbers.size(); k += 3) sum += std::max(0.0F, numbers[k]);
  return sum / (static_cast<double>(numbers.size()) / 3);
}

PoseNetwork load_pose_network(const fs::path& weights, const PoseOptions& o) {
  check(o.batch_size >= 1, "batch_size is {}; expected at least 1", o.batch_size);
  const WeightFile file(weights);
  PoseNetwork n{.weights = weights.string()};
  const WeightInfo info = weight_info(file, o.input_h == 0 || o.input_w == 0);
  n.input_h = checked_side("input_h", o.input_h != 0 ? o.input_h : info.input_h.value_or(256));
  n.input_w = checked_side("input_w", o.input_w != 0 ? o.input_w : info.input_w.value_or(192));
  ModelOptions m;
  m.weights = n.weights;
  m.device = o.device;
  m.precision = o.precision;
  m.amp = o.bf16;
  settle_precision(m, {.h = n.input_h, .w = n.input_w}, [](const std::string&) {});
  n.cx = make_context({.device = o.device, .amp = m.amp, .tf32 = o.tf32, .exact = o.exact});
  const ModelGuess guess = guess_model(file);
  check(!guess.model.empty() && guess.joints > 0, "{}: holds {}; pose weights are needed", n.weights, guess.what);
  n.model = load_model(n.cx, file, {}, {}, o.color);
  n.skeleton = std::make_shared<const Skeleton>(choose_skeleton(file, o.skeleton, n.model->joints()));
  n.decoding = choose_decoding({.codec = o.codec, .flip = o.flip_test}, info.codec, n.weights, n.input_h);
  return n;
}

struct Found {
  Pose pose;
  std::vector<float> keypoints;  // The result of the network, before suppression.
  double rank = 0;               // The score that suppression sorts by.
  double area = 0;               // Of the padded box, in square pixels.
};

// Removes duplicate poses among people of the same category. Poses of different categories may overlap.
std::vector<Pose> suppressed(std::vector<Found>& found, double threshold, const Skeleton& skeleton) {
  std::map<int64_t, std::vector<Found*>> by_category;
  for (Found& f : found) by_category[f.pose.category].push_back(&f);
  std::vector<Pose> kept;
  for (auto& [category, some] : by_category) {
    std::vector<ScoredPose<float>> scored;
    for (const Found* f : some) scored.push_back({f->keypoints, f->rank, f->area});
    for (const int i : oks_nms<float>(scored, {.threshold = threshold, .sigmas = skeleton.sigmas})) {
      kept.push_back(std::move(some[static_cast<size_t>(i)]->pose));
    }
  }
  return kept;
}

}  // namespace

Picture::Picture(const Image& image) : view_(image) {}

Picture::Picture(int width, int height, const uint8_t* rgb, size_t stride) {
  const size_t row = static_cast<size_t>(std::max(width, 0)) * 3;
  if (stride == 0) stride = row;
  check(width > 0 && height > 0 && rgb != nullptr,
        "a picture of {} x {} pixels cannot be used; expected at least 1 x 1 pixels and a pointer that is not null",
        width, height);
  check(stride >= row, "a picture that is {} pixels wide needs rows of at least {} bytes; the stride is {}", width, row,
        stride);
  view_.width = width;
  view_.height = height;
  view_.region = {0, 0, width, height};
  view_.pixels = rgb;
  view_.stride = stride;
  view_.readable = stride * (static_cast<size_t>(height) - 1) + row;
}

People::People(std::span<const Box> boxes) : whole_(boxes.empty()) {
  for (const Box& box : boxes) people_.push_back({box});
}
People::People(const std::vector<DetectedBox>& found) : whole_(false) {
  for (const DetectedBox& f : found) people_.push_back({f.box, f.score, f.category});
}
People::People(const std::vector<Pose>& poses) : whole_(false) {
  for (const Pose& p : poses) people_.push_back({p.box, p.score, p.category});
}

struct PoseEstimator::State : PoseNetwork {
  std::mutex mutex;
  double oks_nms;  // Below 0 keeps all poses.
  int batch_size;
  std::unique_ptr<HeatmapRunner> runner;
  Batch batch;

  State(PoseNetwork network, int people, double threshold)
      : PoseNetwork(std::move(network)), oks_nms(threshold), batch_size(people) {
    check(batch_size >= 1, "batch_size is {}; expected at least 1", batch_size);
    runner = std::make_unique<HeatmapRunner>(cx, *model, skeleton->mirror(),
                                             HeatmapRunner::Options{.flip = decoding.flip, .shift = decoding.shift});
    if (cx.device.is_cuda()) {
      const auto pinned = std::make_shared<CachingAllocator>(CachingAllocator::pinned(cx.device.index));
      batch.sources = HostBuffer<uint8_t>(pinned);
    }
    reserve();
  }

  // A person whose crop is in a batch.
  struct Member {
    size_t request = 0;
    People::Person person;
    Placement placement;
  };
  std::vector<Member> filling;                // People of `batch`, which is being filled.
  std::deque<std::vector<Member>> under_way;  // People of the batches in flight, oldest first.

  size_t pixels() const { return static_cast<size_t>(input_w) * static_cast<size_t>(input_h) * 3; }
  size_t slot() const { return CropSource::slot_bytes(input_w, input_h); }

  // Writes the crops of people of one picture into the batch, from position `first` on.
  void write_crops(const ImageView& picture, std::span<const Member> members, size_t first) {
    const bool gpu = cx.device.is_cuda(), bgr = model->bgr_input();
    for_each_on_threads(members.size(), std::min(compute_threads(), static_cast<int>(members.size())), [&] {
      return [&, this](size_t i) {
        const Placement& placement = members[i].placement;
        if (gpu) {
          write_crop_source(picture, placement, input_w, input_h, {}, bgr, batch.sources.part(first + i, slot()));
          return;
        }
        const size_t row = static_cast<size_t>(input_w) * 3;
        float* const to = batch.images.part(first + i, pixels()).data();
        crop_image(picture, placement, input_w, input_h, {}, [&](int y, const uint8_t* rgb) {
          normalize_row(rgb, static_cast<size_t>(input_w), to + static_cast<size_t>(y) * row, bgr);
        });
      };
    });
  }

  // Adds the people of one picture to the batch, and submits each batch that is full.
  void add(size_t request, const ImageView& picture, const People& people, std::vector<std::vector<Found>>& found) {
    std::vector<People::Person> list(people.list().begin(), people.list().end());
    if (people.whole()) list = {{{0, 0, static_cast<double>(picture.width), static_cast<double>(picture.height)}}};
    std::vector<Member> members;
    for (size_t i = 0; i < list.size(); ++i) {
      const Box& b = list[i].box;
      check(std::isfinite(b.x) && std::isfinite(b.y) && std::isfinite(b.w) && std::isfinite(b.h) && b.w > 0 && b.h > 0,
            "picture {}, person {}: the box at ({}, {}) of {} x {} pixels has no area or is not finite", request, i,
            b.x, b.y, b.w, b.h);
      const CenterScale place = center_scale(b, static_cast<double>(input_w) / input_h);
      members.push_back({request, list[i],
                         place_official(place, {}, *skeleton, {}, picture.width, input_w, input_h,
                                        encoding_of(decoding.decode.codec))});
    }
    std::span<const Member> rest(members);
    while (!rest.empty()) {
      const size_t room = static_cast<size_t>(batch_size) - filling.size(), n = std::min(room, rest.size());
      write_crops(picture, rest.first(n), filling.size());
      filling.insert(filling.end(), rest.begin(), rest.begin() + static_cast<ptrdiff_t>(n));
      rest = rest.subspan(n);
      if (filling.size() == static_cast<size_t>(batch_size)) submit(found);
    }
  }

  void reserve() {
    const auto n = static_cast<size_t>(batch_size);
    cx.device.is_cuda() ? batch.sources.resize(slot() * n) : batch.images.resize(pixels() * n);
  }

  void submit(std::vector<std::vector<Found>>& found) {
    if (filling.empty()) return;
    while (runner->full()) take(found);
    batch.size = static_cast<int>(filling.size());
    batch.h = input_h;
    batch.w = input_w;
    // The buffers keep their memory and contents when they shrink.
    cx.device.is_cuda() ? batch.sources.resize(slot() * filling.size())
                        : batch.images.resize(pixels() * filling.size());
    runner->submit(batch);
    under_way.push_back(std::exchange(filling, {}));
    reserve();
  }

  // Waits for the oldest batch and decodes its poses.
  void take(std::vector<std::vector<Found>>& found) {
    const Heatmaps maps = runner->wait();
    const std::vector<Member> members = std::move(under_way.front());
    under_way.pop_front();
    const size_t numbers = static_cast<size_t>(maps.h) * static_cast<size_t>(maps.w) * static_cast<size_t>(maps.joints);
    const std::span<const float> all(maps.data, numbers * members.size());
    check(
        std::all_of(all.begin(), all.end(), [](float v) { return std::isfinite(v); }),
        "{}: the network's heatmaps hold numbers that are not finite (NaN or infinity), so the weights are damaged or "
        "their training has diverged; use another checkpoint",
        weights);
    std::vector<Affine> places;
    for (const Member& m : members) places.push_back(m.placement.heatmap_to_image);
    std::vector<float> poses = decode(maps, decoding.decode);
    to_image(poses, maps.joints, places);
    const size_t each = static_cast<size_t>(maps.joints) * 3;
    for (size_t i = 0; i < members.size(); ++i) {
      const Member& m = members[i];
      const std::span<const float> own = std::span<const float>(poses).subspan(i * each, each);
      Found& f = found[m.request].emplace_back();
      f.keypoints.assign(own.begin(), own.end());
      f.rank = rescore_official(own, m.person.score, 0.2);
      f.area = m.placement.place.area();
      f.pose = {m.person.box, pose_score(own, m.person.score), {}, 0, m.person.category, skeleton};
      for (size_t k = 0; k < each; k += 3) {
        f.pose.joints.push_back({own[k], own[k + 1], own[k + 2], skeleton->names[k / 3].c_str()});
      }
    }
  }

  void forget() {
    runner->discard();
    under_way.clear();
    filling.clear();
  }
};

PoseEstimator::PoseEstimator(PoseNetwork network, int batch_size, std::optional<double> oks_nms)
    : state_(std::make_unique<State>(std::move(network), batch_size, oks_nms.value_or(-1))) {}

PoseEstimator::PoseEstimator(const fs::path& weights, const PoseOptions& o)
    : PoseEstimator(load_pose_network(weights, o), o.batch_size, o.oks_nms) {}

PoseEstimator::~PoseEstimator() = default;
PoseEstimator::PoseEstimator(PoseEstimator&&) noexcept = default;
PoseEstimator& PoseEstimator::operator=(PoseEstimator&&) noexcept = default;

std::vector<Pose> PoseEstimator::operator()(const Picture& picture, const People& people) {
  const PoseRequest request{picture, people};
  return std::move((*this)(std::span(&request, 1)).front());
}

std::vector<std::vector<Pose>> PoseEstimator::operator()(std::span<const PoseRequest> requests) {
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  if (s.cx.device.is_cuda()) cuda::use_device(s.cx.device.index);  // The current device of CUDA belongs to the thread.
  std::vector<std::vector<Found>> found(requests.size());
  try {
    for (size_t i = 0; i < requests.size(); ++i) {
      const fs::path& file = requests[i].picture.file();
      if (file.empty()) {
        s.add(i, requests[i].picture.view(), requests[i].people, found);
      } else {
        const Image image = read_image(file, Orientation::apply);
        s.add(i, image, requests[i].people, found);
      }
    }
    s.submit(found);
    while (!s.under_way.empty()) s.take(found);
  } catch (...) {
    s.forget();
    throw;
  }
  std::vector<std::vector<Pose>> poses(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    if (s.oks_nms >= 0) {
      poses[i] = suppressed(found[i], s.oks_nms, *s.skeleton);
    } else {
      for (Found& f : found[i]) poses[i].push_back(std::move(f.pose));
    }
  }
  return poses;
}

const Skeleton& PoseEstimator::skeleton() const { return *state_->skeleton; }
int PoseEstimator::input_h() const { return state_->input_h; }
int PoseEstimator::input_w() const { return state_->input_w; }

}  // namespace hr
