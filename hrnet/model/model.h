// Pose networks, which turn normalised images into heatmaps.
#pragma once
#include <cstddef>
#include <memory>
#include <string>

#include "nn/model.h"

namespace hr {

// Not thread-safe, as Model: only one thread at a time may use a network, forward() included.
class PoseModel : public Model {
 public:
  virtual ~PoseModel() = default;
  // images [N, H, W, 3], f32 or cx.precision -> heatmaps [N, H/4, W/4, joints] f32. Throws Error if H % 32 or W % 32.
  Tensor forward(Context& cx, const Tensor& images) const;

  const std::string& name() const { return name_; }
  int joints() const { return joints_; }
  // Whether the network expects the channel order B, G, R. The published PoseResNet weights do (with the mean and
  // deviation of R, G, B in index order), so this is the default of that architecture. The order belongs to the
  // weights, so the code that loads them may change it.
  bool bgr_input() const { return bgr_input_; }
  void set_bgr_input(bool bgr) { bgr_input_ = bgr; }
  // The bytes of memory that the network holds beside its parameters and the context's allocator.
  virtual size_t held_bytes() const { return 0; }
  // Returns whether forward() computes the whole network in a parallel region of its own and keeps its memory itself,
  // so that its loops cannot be recorded (core/loop_graph.h). Networks of 8 bits do.
  virtual bool runs_by_itself() const { return false; }

 protected:
  PoseModel(std::string name, int joints, bool bgr_input)
      : name_(std::move(name)), joints_(joints), bgr_input_(bgr_input) {}
  virtual Tensor network(Context& cx, const Tensor& x) const = 0;

 private:
  std::string name_;
  int joints_;
  bool bgr_input_;
};

// Builds the network of a name: "hrnet_wC" for any width C from 1 to 1024 (branches of C, 2C, 4C and 8C channels),
// "pose_resnet50", "pose_resnet101" or "pose_resnet152". It has names and shapes of parameters but no memory. Throws
// Error that lists the known names.
std::unique_ptr<PoseModel> declare_model(const std::string& name, int joints);
// The same, with memory from cx and initial values drawn from `seed`.
std::unique_ptr<PoseModel> make_model(Context& cx, const std::string& name, int joints, uint64_t seed = 0,
                                      Init init = Init::official, Purpose purpose = Purpose::training);

}  // namespace hr
