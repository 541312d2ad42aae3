// A network's heatmaps, batch after batch, with the GPU kept busy. Used by validate, predict, train and bench.
#pragma once
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "data/loader.h"
#include "eval/decode.h"
#include "hrnet/model/model.h"

namespace hr {

// Heatmaps of images, with the flip test as one doubled batch. Several batches are under way at a time:
//   for (bool more = true;;) {
//     while (!runner.full() && (more = more && loader.next(batch))) runner.submit(batch);
//     if (runner.pending() == 0) break;
//     const Heatmaps maps = runner.wait();  // of the oldest batch
//   }
// On a GPU uploads, networks and downloads of different batches then overlap, and the host decodes meanwhile. The
// second call of a shape and all after it are one captured graph. On the CPU submit() does all the work.
//
// Memory for activations is that of the largest shape: the graphs and plans of all shapes lie in one block. A shape
// that is new moves it, and each graph is then captured again when its turn comes. The plans and graphs of the kShapes
// shapes that were used last are kept. Not thread-safe.
class HeatmapRunner {
 public:
  struct Options {
    bool flip = true;
    bool shift = true;  // move the flipped-back heatmaps by a column, as the published weights expect
  };
  // The model must outlive the runner. cx: precision, device and threads; training and tape are ignored.
  HeatmapRunner(const Context& cx, const PoseModel& model, std::vector<int> mirror, Options options);
  ~HeatmapRunner();
  HeatmapRunner(const HeatmapRunner&) = delete;
  HeatmapRunner& operator=(const HeatmapRunner&) = delete;

  // Puts a batch under way; its memory may be reused when this returns. On a GPU it has then arrived there (pinned
  // memory saves the driver a copy). Not while full(). After an Error the batch is forgotten and the others go on.
  void submit(std::span<const float> images, int n, int h, int w);  // [n, h, w, 3], normalised
  // Crops that the device makes: n slots (core/crop_slot.h).
  void submit(std::span<const uint8_t> sources, int n, int h, int w);
  // A batch's images or sources, whichever it has.
  void submit(const Batch& batch);

  // One batch being uploaded, one in the network, one being downloaded; on the CPU there is nothing to overlap.
  static constexpr int kInFlight = 3;
  bool full() const { return pending() >= (cx_.device.is_cuda() ? kInFlight : 1); }
  // Shapes whose plan and graph are kept; the least recently used one goes when a new one comes.
  static constexpr size_t kShapes = 16;
  size_t shapes() const { return shapes_.size(); }
  size_t pending() const { return running_.size(); }  // batches whose heatmaps were not taken yet
  // Heatmaps [n, h/4, w/4, joints] of the oldest batch; valid until the next submit().
  Heatmaps wait();
  // Forgets the batches under way: for callers that begin anew after an error of their own.
  void discard();

  // submit and wait.
  Heatmaps operator()(std::span<const float> images, int n, int h, int w);
  Heatmaps operator()(std::span<const uint8_t> sources, int n, int h, int w);
  Heatmaps operator()(const Batch& batch);

  Context& context() { return cx_; }

 private:
  struct Slot;  // a batch on its way
  struct Shaped {
    std::shared_ptr<Arena> arena;  // a replayed plan fits one shape
    cuda::Graph graph = nullptr;
    uint64_t version = 0;  // of the weights that the graph has folded
    uint64_t moves = 0;    // of the memory that the graph was captured on
    uint64_t used = 0;     // when: a count of all calls
  };
  // What the network reads and writes: parts of io_.
  struct Buffers {
    Tensor sources;  // [n, slot]; undefined for a batch of images
    Tensor images;   // [n or 2 n, h, w, 3]; undefined for a batch of sources, whose images live in the step
    Tensor maps;     // [n, h/4, w/4, joints]
  };
  void submit(std::span<const float> images, std::span<const uint8_t> sources, int n, int h, int w);
  Shaped& shaped(int n, int h, int w, bool sources);
  Buffers buffers(int n, int h, int w, size_t source_bytes);
  void run(Shaped& s, const Buffers& io, int h, int w);           // eagerly, or recorded for a graph
  void run_on_gpu(Shaped& s, const Buffers& io, int h, int w);    // by a graph where there can be one
  void settle() noexcept;                                         // waits for all work, even of a batch that failed
  uint64_t moves() const { return block_->moves() + io_moves_; }  // both only grow

  Context cx_;
  const PoseModel& model_;
  Tensor mirror_;  // [joints] i32
  Tensor normal_;  // [3, 256]
  Options options_;
  std::map<std::array<int, 4>, Shaped> shapes_;  // by n, h, w and whether crops are made here
  uint64_t calls_ = 0;
  std::shared_ptr<ArenaBlock> block_;  // of all shapes' arenas: one runs at a time
  std::shared_ptr<Storage> io_;        // of all shapes' inputs and heatmaps
  uint64_t io_moves_ = 0;
  std::deque<std::unique_ptr<Slot>> running_;  // oldest first
  std::vector<std::unique_ptr<Slot>> free_slots_;
  cuda::Stream uploads_ = nullptr, downloads_ = nullptr;
};

}  // namespace hr
