// Pose networks: normalised images in, heatmaps out.
#pragma once
#include <memory>
#include <string>

#include "nn/model.h"

namespace hr {

// Thread rules are those of Model: one thread at a time, forward() included.
class PoseModel : public Model {
 public:
  virtual ~PoseModel() = default;
  // images [N, H, W, 3] f32, H and W multiples of 32 -> heatmaps [N, H/4, W/4, joints] f32.
  Tensor forward(Context& cx, const Tensor& images) const;

  const std::string& name() const { return name_; }
  int joints() const { return joints_; }
  // The published PoseResNet weights expect B, G, R (with the mean and deviation of R, G, B in index order); that is
  // the architecture's default. The order belongs to the weights, so whoever loads them may set it.
  bool bgr_input() const { return bgr_input_; }
  void set_bgr_input(bool bgr) { bgr_input_ = bgr; }

 protected:
  PoseModel(std::string name, int joints, bool bgr_input)
      : name_(std::move(name)), joints_(joints), bgr_input_(bgr_input) {}
  virtual Tensor network(Context& cx, const Tensor& x) const = 0;

 private:
  std::string name_;
  int joints_;
  bool bgr_input_;
};

// "hrnet_wC" for any width C >= 1 (branches of C, 2C, 4C, 8C channels), "pose_resnet50", "pose_resnet101",
// "pose_resnet152". Names and shapes only, no memory. Error lists the names it knows.
std::unique_ptr<PoseModel> declare_model(const std::string& name, int joints);
// The same, allocated and initialised from `seed`.
std::unique_ptr<PoseModel> make_model(Context& cx, const std::string& name, int joints, uint64_t seed = 0,
                                      Init init = Init::official);

}  // namespace hr
