// Computes the heatmaps of a network for one batch after the other and keeps the GPU busy. Used by validate, predict,
// train and bench.
#pragma once
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "core/loop_graph.h"
#include "core/planned_step.h"
#include "data/loader.h"
#include "eval/decode.h"
#include "hrnet/model/model.h"

namespace hr {

// Heatmaps of images, with the flip test as one batch of twice the size. Several batches can be in flight:
//   for (bool more = true;;) {
//     while (!runner.full() && (more = more && loader.next(batch))) runner.submit(batch);
//     if (runner.pending() == 0) break;
//     const Heatmaps maps = runner.wait();  // of the oldest batch
//   }
// On a GPU the upload, the network and the download of different batches then overlap, while the host decodes. The
// first batch of a shape runs eagerly, and from the second on a captured graph is launched. On the CPU submit() does
// all the work, from the second batch of a shape on with recorded loops (core/loop_graph.h) and threads of its own.
//
// All shapes share one block of memory for activations, as large as the largest shape needs. When a new shape makes the
// block move, each graph is captured again before its next use. Plans and graphs are kept for the kShapes shapes that
// were used last.
//
// Not thread-safe: only one thread at a time may use a runner, its model and the context from which it was made. The
// Heatmaps that wait() returns may be read by other threads while they are valid. Runners of parallel threads each need
class HeatmapRunner {
 public:
  struct Options {
    bool flip = true;
    bool shift = true;  // Shift the mirrored heatmaps by a column, as the published weights expect.
  };
  // The model must outlive the runner. Device, precision and stream are those of cx; its tape and training mode are
  // ignored.
  HeatmapRunner(const Context& cx, const PoseModel& model, std::vector<int> mirror, Options options);
  ~HeatmapRunner();
  HeatmapRunner(const HeatmapRunner&) = delete;
  HeatmapRunner& operator=(const HeatmapRunner&) = delete;

  // Starts the computation of a batch. The batch's memory may be reused when this returns; on a GPU the batch has then
  // been copied there, without an extra copy if it lies in pinned memory. Throws Error if full(). After an Error the
  // batch is dropped and the others continue.
  void submit(std::span<const float> images, int n, int h, int w);  // [n, h, w, 3], normalised
  // The same for crops that the device makes: n slots (core/crop_slot.h).
  void submit(std::span<const uint8_t> sources, int n, int h, int w);
  // Submits the images or the sources of a batch, whichever it has.
  void submit(const Batch& batch);

  // Number of batches in flight on a GPU: one is uploaded, one is in the network, one is downloaded. On the CPU nothing
  // can overlap.
  static constexpr int kInFlight = 3;
  bool full() const { return pending() >= (cx_.device.is_cuda() ? kInFlight : 1); }
  // Number of shapes whose plan and graph are kept. When a new shape comes, the least recently used one is dropped.
  static constexpr size_t kShapes = 16;
  size_t shapes() const { return shapes_.size(); }
  size_t pending() const { return running_.size(); }  // Batches whose heatmaps have not been taken.
  // Waits for the oldest batch and returns its heatmaps [n, h/4, w/4, joints]. They are valid until the next submit().
  // Throws Error if no batch is in flight.
  Heatmaps wait();
  // Drops all batches in flight, for callers that start again after an error of their own.
  void discard();

  // submit() and wait() in one call. Throws Error if batches are in flight.
  Heatmaps operator()(std::span<const float> images, int n, int h, int w);
  Heatmaps operator()(std::span<const uint8_t> sources, int n, int h, int w);
  Heatmaps operator()(const Batch& batch);

  Context& context() { return cx_; }

 private:
  struct Slot;  // A batch in flight.
  struct Shaped {
    std::shared_ptr<Arena> arena;       // Its plan is valid for one shape.
    std::unique_ptr<PlannedStep> step;  // In place of it where loops are recorded.
    cuda::Graph graph = nullptr;
    uint64_t version = 0;  // Version of the weights that are folded in the graph.
    uint64_t moves = 0;    // moves() when the graph was captured.
    uint64_t used = 0;     // Value of calls_ at the last use.
  };
  // Inputs and outputs of the network, as parts of io_.
  struct Buffers {
    Tensor sources;  // [n, slot]; undefined for a batch of images
    Tensor images;   // [n or 2 n, h, w, 3]; undefined for a batch of sources, whose images lie in the arena
    Tensor maps;     // [n, h/4, w/4, joints]
  };
  void submit(std::span<const float> images, std::span<const uint8_t> sources, int n, int h, int w);
  Shaped& shaped(int n, int h, int w, bool sources);
  Buffers buffers(int n, int h, int w, size_t source_bytes);
  void forward(Context& step, const Buffers& io, int h, int w);
  bool records_loops() const { return !cx_.device.is_cuda() && !model_.runs_by_itself(); }
  void run_on_cpu(Shaped& s, const Buffers& io, int h, int w);
  void run(Shaped& s, const Buffers& io, int h, int w);           // Eagerly, or recorded for a graph.
  void run_on_gpu(Shaped& s, const Buffers& io, int h, int w);    // With the graph, if there is or can be one.
  void settle() noexcept;                                         // Waits for all work, also of a batch that failed.
  uint64_t moves() const { return block_->moves() + io_moves_; }  // Changes when captured addresses become invalid.

  Context cx_;
  const PoseModel& model_;
  Tensor mirror_;  // [joints] i32
  Tensor normal_;  // [3, 256]
  Options options_;
  std::map<std::array<int, 4>, Shaped> shapes_;  // Key: n, h, w, and whether the device makes the crops.
  uint64_t calls_ = 0;
  std::shared_ptr<ArenaBlock> block_;  // Shared by the arenas of all shapes, since one runs at a time.
  std::shared_ptr<Storage> io_;        // Shared by the inputs and heatmaps of all shapes.
  uint64_t io_moves_ = 0;
  std::deque<std::unique_ptr<Slot>> running_;  // Oldest first.
  std::vector<std::unique_ptr<Slot>> free_slots_;
  std::unique_ptr<LoopTeam> team_;  // On the CPU.
  cuda::Stream uploads_ = nullptr, downloads_ = nullptr;
};

}  // namespace hr
