// PoseResNet (Xiao et al., ECCV 2018, "Simple Baselines"): ResNet-50, 101 or 152, then three deconvolutions of 256
// channels.
#pragma once
#include "hrnet/model/hrnet.h"

namespace hr {

class PoseResNet final : public PoseModel {
 public:
  PoseResNet(std::string name, const std::array<int, 4>& blocks, int joints);

 protected:
  Tensor network(Context& cx, const Tensor& x) const override;

 private:
  std::vector<ConvBn> stem_;
  std::vector<Bottleneck> blocks_;
  std::vector<ConvBn> deconv_layers_;
  std::vector<Conv> final_layer_;
};

}  // namespace hr
