#include "tools/predict/pipeline.h"

#include <algorithm>
#include <optional>

#include "core/counted.h"
#include "core/cuda.h"
#include "core/parallel.h"
#include "core/stopwatch.h"
#include "tools/predict/overlay.h"

namespace hr {

Pipeline::Pipeline(const PredictOptions& options, const Parts& parts)
    : o_(options),
      p_(parts),
      poses_(parts.estimator, options),
      cpu_(options.device == "cpu"),
      threads_(compute_threads()) {}

template <class F>
auto Pipeline::timed(Stage stage, const F& f) {
  const double begin = now();
  const auto result = f();
  busy_[stage] += static_cast<int64_t>((now() - begin) * 1e9);
  return result;
}

bool Pipeline::unwanted(const Frame& frame) const { return p_.stop.reason() != 0 && !frame.end; }

void Pipeline::read() {
  for (Frame frame; timed(reading, [&] { return p_.source.next(frame); });) {
    const size_t bytes = frame.bytes();
    if (!read_.push(std::move(frame), bytes)) return;
  }
  read_.close();
}

void Pipeline::detect() {
  // A new thread would let OpenMP use all cores instead of the requested number and would use the first CUDA device, so
  // both are set for this thread.
  set_compute_threads(threads_);
  if (!cpu_ && p_.detector != nullptr) cuda::use_device(p_.detector->context().device.index);
  std::optional<DetectStage> stage;
  if (p_.detector != nullptr) stage.emplace(*p_.detector, o_.every, o_.box_score, o_.track);
  while (std::optional<Frame> frame = read_.pop()) {
    if (unwanted(*frame)) continue;
    if (stage && stage->wants(*frame)) {
      const std::unique_lock<std::mutex> turn = cpu_ ? std::unique_lock(turn_) : std::unique_lock<std::mutex>();
      timed(detecting, [&] { return stage->run(std::span(&*frame, 1)), true; });
    }
    const size_t bytes = frame->bytes();
    if (!detected_.push(*std::move(frame), bytes)) return;
  }
  detected_.close();
}

// Returns frames that share batches. A live frame is grouped only with frames that are already in the queue.
std::vector<Frame> Pipeline::next_group() {
  constexpr size_t kMostFrames = 64, kMostBytes = size_t{256} << 20;
  // A GPU gets several batches in one group, so that they overlap.
  const size_t most_people = static_cast<size_t>(o_.batch_size) * (cpu_ ? 1 : 4);
  std::vector<Frame> group;
  size_t people = 0, bytes = 0;
  for (std::optional<Frame> frame = detected_.pop(); frame;) {
    // A frame that is dropped is skipped here, because an empty group would end the pose stage before its input is
    // closed.
    if (unwanted(*frame)) {
      frame = detected_.pop();
      continue;
    }
    const bool live = frame->live, last = poses_.ends_group(*frame);
    people += frame->whole ? 1 : frame->people.size();
    bytes += frame->bytes();
    group.push_back(*std::move(frame));
    if (last || people >= most_people || bytes >= kMostBytes || group.size() >= kMostFrames) break;
    frame = live ? detected_.try_pop() : detected_.pop();
  }
  return group;
}

void Pipeline::pose() {
  for (;;) {
    std::vector<Frame> group = next_group();
    if (group.empty()) break;
    {
      const std::unique_lock<std::mutex> turn = cpu_ ? std::unique_lock(turn_) : std::unique_lock<std::mutex>();
      timed(posing, [&] { return poses_.run(group), true; });
    }
    for (Frame& frame : group) {
      const size_t bytes = frame.bytes();
      if (!posed_.push(std::move(frame), bytes)) return;
    }
  }
  posed_.close();
}

void Pipeline::draw() {
  while (std::optional<Frame> frame = posed_.pop()) {
    if ((o_.overlay || p_.window != nullptr) && !frame->end && frame->error.empty())
      timed(drawing, [&] { return draw_people(*frame, o_.threshold), true; });
    const size_t bytes = frame->bytes();
    if (!drawn_.push(*std::move(frame), bytes)) return;
  }
  drawn_.close();
}

void Pipeline::write() {
  int64_t taken = 0;  // This also counts the pictures and frames that could not be read.
  while (std::optional<Frame> frame = drawn_.pop()) {
    taken += frame->end ? 0 : 1;
    timed(writing, [&] { return p_.outputs.take(*frame), true; });
    show(*frame);
    p_.progress.update(taken, note());
  }
}

// A paused window holds up the stages before it, too, since their queues are bounded. A camera is not held up.
void Pipeline::show(const Frame& frame) {
  if (p_.window == nullptr || frame.end || !frame.error.empty()) return;
  p_.window->show(frame.image, frame.pixel, !frame.live, [this] { return p_.stop.reason() != 0 || error_.any(); });
}

std::string Pipeline::note() const {
  static constexpr std::array<const char*, kStages> kNames = {"reading", "detector", "poses", "drawing", "writing"};
  const auto slowest = std::max_element(busy_.begin(), busy_.end(), [](const auto& a, const auto& b) { return a < b; });
  return fmt::format("{:.1f} frames/s  {}  slowest: {}", static_cast<double>(p_.outputs.frames()) / (now() - started_),
                     counted_people(p_.outputs.people()), kNames[static_cast<size_t>(slowest - busy_.begin())]);
}

void Pipeline::stop_all() {
  for (Queue* queue : {&read_, &detected_, &posed_, &drawn_}) queue->stop();
}

void Pipeline::run() {
  started_ = now();
  const auto guarded = [this](void (Pipeline::*stage)()) {
    try {
      (this->*stage)();
    } catch (...) {
      error_.keep();
      stop_all();
    }
  };
  {
    ThreadTeam team;
    for (const auto stage : {&Pipeline::read, &Pipeline::detect, &Pipeline::draw, &Pipeline::write}) {
      team.start(
          1,
          [guarded, stage] {
            unpin_this_thread();
            guarded(stage);
          },
          [](const std::exception_ptr&) {});
    }
    guarded(&Pipeline::pose);
  }
  error_.rethrow();
  p_.progress.finish(note());
}

}  // namespace hr
