// Runs a pose network with 8-bit integers on the CPU.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/loop_graph.h"
#include "hrnet/int8/graph.h"
#include "ops/conv/conv2d.h"
#include "ops/int8_stem.h"

namespace hr {

// The numbers of a quantised network. The keys are names of nodes of its graph.
struct Int8Parameters {
  struct Float {
    std::vector<float> filter, bias;  // [o, kh, kw, i] and [o]; batch norm is folded.
  };
  std::map<std::string, Int8Weights> convs;
  std::map<std::string, Float> floats;  // The stem and the head.
  std::map<std::string, float> ranges;  // The value of the byte 255.
};

// Not thread-safe: the object keeps the memory of activations between calls. It computes with the OpenMP threads of the
// caller, or records its loops in cx.loops. The results depend neither on the number of threads nor on the other images
// of a batch.
class Int8Network {
 public:
  // Throws Error if a node's parameters are missing, have another size, or cannot be used.
  Int8Network(Int8Graph graph, const Int8Parameters& parameters);
  ~Int8Network();
  Int8Network(const Int8Network&) = delete;
  Int8Network& operator=(const Int8Network&) = delete;

  // images [N, H, W, 3] f32 -> heatmaps [N, H/4, W/4, joints] f32. Throws Error if there is no memory.
  Tensor run(Context& cx, const Tensor& images);

  // The bytes of activations that are kept.
  size_t activation_bytes() const;

 private:
  struct Plan;
  struct FloatConv {
    Tensor filter, bias;
    PackedFilters packed;
  };
  Plan& plan(int64_t n, int64_t h, int64_t w);
  void record(LoopRecorder& loops, const std::shared_ptr<Plan>& plan, const float* images);
  Tensor finish(Context& cx, const Plan& plan);
  void piece(const Plan& plan, const float* images, size_t node, int64_t index) const;
  float scale_of(int value) const;

  Int8Graph graph_;
  std::vector<std::unique_ptr<Int8Conv>> convs_;  // By node; null if the node is no convolution of bytes.
  std::map<std::string, std::unique_ptr<Int8Stem>> stems_;
  std::map<std::string, FloatConv> floats_;   // The head.
  std::vector<float> scales_;                 // By value; 0 for floats.
  std::vector<std::shared_ptr<Plan>> plans_;  // The most recently used one first.
};

}  // namespace hr
