// Runs a network with 8-bit integers on the CPU.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/loop_graph.h"
#include "core/loop_schedule.h"
#include "hrnet/int8/parameters.h"
#include "hrnet/int8/plan.h"
#include "ops/conv/conv2d.h"
#include "ops/int8_depthwise.h"
#include "ops/int8_stem.h"

namespace hr {

// Not thread-safe: the object keeps the memory of activations between calls. Its nodes are recorded loops
// (core/loop_graph.h), which threads of its own run, as many as the caller has OpenMP threads; a detector's loops,
// which are short, run on the OpenMP threads (core/loop_schedule.h). The results depend neither on the number of
// threads nor on the other images of a batch.
class Int8Network {
 public:
  // Throws Error if a node's parameters are missing, have another size, or cannot be used.
  Int8Network(Int8Graph graph, const Int8Source& source);
  ~Int8Network();
  Int8Network(const Int8Network&) = delete;
  Int8Network& operator=(const Int8Network&) = delete;

  // images [N, H, W, 3] f32 -> heatmaps [N, H/4, W/4, joints] f32, or a detector's table [N, A, columns] as
  // Yolox::forward gives it. Throws Error if there is no memory, or if the network cannot be computed at this size.
  Tensor run(Context& cx, const Tensor& images);

  // Is told every tensor of bytes once it is computed, pass by pass, on the calling thread. For checks: the nodes are
  // then computed one after the other.
  using Observer = std::function<void(int value, const Int8Layout& layout, const uint8_t* bytes)>;
  void observe(Observer observer) { observer_ = std::move(observer); }

  const Int8Graph& graph() const { return graph_; }
  // The bytes of activations that are kept, and those of the weights.
  size_t activation_bytes() const { return arena_bytes_; }
  size_t weight_bytes() const { return weight_bytes_; }

 private:
  struct Arena;
  struct FloatConv {
    Tensor filter, bias;
    PackedFilters packed;
  };
  // The computation of a node, by its kind.
  struct Op {
    std::unique_ptr<Int8Stem> stem;
    std::unique_ptr<Int8Depthwise> depthwise;
    FloatConv head;
  };
  struct Planned {
    Int8Plan plan;
    std::vector<Tensor> inputs;              // By value: those of the heads.
    std::shared_ptr<const LoopGraph> loops;  // Null until they are recorded.
  };
  void load(const Int8Source& source, size_t node);
  Planned& planned(int64_t n, int64_t h, int64_t w);
  void compute(Context& cx, Planned& planned, const float* images, const Tensor& result, int64_t first);
  std::shared_ptr<const LoopGraph> record() const;
  void run_loops(const std::shared_ptr<const LoopGraph>& loops);
  void run_observed() const;
  void heads(Context& cx, const Int8Plan& plan, const std::vector<Tensor>& inputs, const Tensor& result, int64_t first);
  int64_t pieces(size_t node) const;
  void piece(size_t node, int64_t index) const;
  void piece(const Int8Plan& plan, const float* images, size_t node, int64_t index) const;
  void terms(const Int8Plan& plan, const Int8Graph::Node& node, int64_t n, int64_t first, int64_t last) const;
  void fill_border(const Int8Plan& plan, size_t node, int64_t image) const;
  const Int8Steps& step_of(int value) const { return steps_[static_cast<size_t>(value)]; }
  uint8_t* bytes_of(int v) const { return reinterpret_cast<uint8_t*>(data_[static_cast<size_t>(v)]); }
  float* floats_of(int v) const { return reinterpret_cast<float*>(data_[static_cast<size_t>(v)]); }

  Int8Graph graph_;
  std::vector<std::unique_ptr<Int8Conv>> convs_;  // By node; null if the node is no convolution of bytes.
  std::vector<Op> ops_;                           // By node.
  std::vector<Int8Steps> steps_;                  // By value; the scale is 0 for floats.
  std::vector<Planned> plans_;                    // The most recently used one first. One runs at a time.
  std::unique_ptr<Arena> arena_;                  // The activations of the largest plan.
  size_t arena_bytes_ = 0, weight_bytes_ = 0;
  // The loops use these members during a run.
  const Int8Plan* plan_ = nullptr;
  const float* images_ = nullptr;
  std::vector<std::byte*> data_;  // By value.
  std::unique_ptr<LoopTeam> team_;
  int team_threads_ = 0;
  LoopSchedule schedule_;
  Observer observer_;
};

}  // namespace hr
