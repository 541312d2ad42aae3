// HRNet (Sun et al., CVPR 2019) as the official pose code builds it; parameter names are its state dict's.
#pragma once
#include <deque>

#include "hrnet/model/model.h"
#include "nn/layers.h"

namespace hr {

// conv3x3 - conv3x3 + skip, both C wide.
struct BasicBlock {
  ConvBn conv1, conv2;
  BasicBlock(ParameterStore& store, const std::string& name, int64_t channels);
  Tensor operator()(Context& cx, const Tensor& x) const;
};

// conv1x1 - conv3x3 - conv1x1 (4 x wider) + skip, with a 1x1 projection on the skip where shapes change.
struct Bottleneck {
  ConvBn conv1, conv2, conv3;
  std::optional<ConvBn> downsample;
  Bottleneck(ParameterStore& store, const std::string& name, int64_t in, int64_t planes, int stride);
  Tensor operator()(Context& cx, const Tensor& x) const;
};

// Parallel branches of four BasicBlocks, then every output is the sum of all branches at its resolution.
class HighResolutionModule {
 public:
  HighResolutionModule(ParameterStore& store, const std::string& name, const std::vector<int64_t>& channels,
                       bool multi_scale_output);
  std::vector<Tensor> operator()(Context& cx, std::vector<Tensor> x) const;

 private:
  std::vector<std::vector<BasicBlock>> branches_;
  std::vector<std::vector<std::vector<ConvBn>>>
      fuse_layers_;  // [output][branch]: a chain of convolutions, empty if equal
};

class HRNet final : public PoseModel {
 public:
  HRNet(std::string name, int64_t width, int joints);

 protected:
  Tensor network(Context& cx, const Tensor& x) const override;

 private:
  std::vector<ConvBn> stem_;
  std::vector<Bottleneck> layer1_;
  std::vector<ConvBn> transition1_, transition2_, transition3_;
  std::vector<HighResolutionModule> stage2_, stage3_, stage4_;
  std::vector<Conv> final_layer_;
};

}  // namespace hr
