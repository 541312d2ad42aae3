// Runs the stages of predict at the same time: read -> detect -> pose -> draw -> write. Each has a thread of its own
// and a bounded queue to the next one. On the CPU the two networks take turns, because each of them uses every core.
#pragma once
#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "core/bounded_queue.h"
#include "core/threads.h"
#include "hrnet/train/stop.h"
#include "tools/cli/progress.h"
#include "tools/predict/find_people.h"
#include "tools/predict/frame_source.h"
#include "tools/predict/outputs.h"
#include "tools/predict/window.h"

namespace hr {

class Pipeline {
 public:
  struct Parts {
    FrameSource& source;
    PersonDetector* detector;  // This is null if people are not searched for.
    PoseEstimator& estimator;
    Outputs& outputs;
    Progress& progress;
    // When a stop is requested, frames that no network has started on are dropped.
    const StopRequest& stop;
    Window* window = nullptr;  // This is null if nothing is shown.
  };
  Pipeline(const PredictOptions& options, const Parts& parts);

  // Runs until every frame has been written. The pose network runs on the calling thread. If a stage throws, the other
  // stages are stopped, and the first exception is thrown again when all of them have ended.
  void run();

 private:
  enum Stage { reading, detecting, posing, drawing, writing, kStages };
  static constexpr size_t kFrames = 8, kBytes = size_t{128} << 20;  // These limits hold for each queue.
  using Queue = BoundedQueue<Frame>;

  void read();
  void detect();
  void pose();
  void draw();
  void write();
  void show(const Frame& frame);
  std::vector<Frame> next_group();
  bool unwanted(const Frame& frame) const;
  void stop_all();
  // Calls f and adds the time that it takes to the stage's.
  template <class F>
  auto timed(Stage stage, const F& f);
  std::string note() const;

  const PredictOptions& o_;
  Parts p_;
  PoseStage poses_;
  const bool cpu_;
  const int threads_;
  std::mutex turn_;
  Queue read_{kFrames, kBytes}, detected_{kFrames, kBytes}, posed_{kFrames, kBytes}, drawn_{kFrames, kBytes};
  std::array<std::atomic<int64_t>, kStages> busy_{};  // Each stage has been busy for this many nanoseconds.
  double started_ = 0;
  FirstException error_;
};

}  // namespace hr
