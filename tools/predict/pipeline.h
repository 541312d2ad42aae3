// The stages of predict side by side: read -> detect -> pose -> draw -> write, each on a thread of its own with a
// bounded queue to the next one. On the CPU the two networks take turns, since each computes on every core.
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

namespace hr {

class Pipeline {
 public:
  struct Parts {
    FrameSource& source;
    PersonDetector* detector;  // null: nobody looks for people
    PoseEstimator& estimator;
    Outputs& outputs;
    Progress& progress;
    const StopRequest& stop;  // frames that are not yet in a network when it comes are dropped
  };
  Pipeline(const PredictOptions& options, const Parts& parts);

  // Returns when every frame has been written. The calling thread runs the pose network. Throws the first exception of
  // any stage when all have ended.
  void run();

 private:
  enum Stage { reading, detecting, posing, drawing, writing, kStages };
  static constexpr size_t kFrames = 8, kBytes = size_t{128} << 20;  // most of them in a queue
  using Queue = BoundedQueue<Frame>;

  void read();
  void detect();
  void pose();
  void draw();
  void write();
  std::vector<Frame> next_group();
  bool unwanted(const Frame& frame) const;
  void stop_all();
  // Runs f and counts its time for a stage.
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
  std::array<std::atomic<int64_t>, kStages> busy_{};  // nanoseconds
  double started_ = 0;
  FirstException error_;
};

}  // namespace hr
