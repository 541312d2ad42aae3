// HRNet (Sun et al., CVPR 2019), built like the official pose code, with the parameter names of its state dict.
#pragma once
#include <deque>

#include "hrnet/model/model.h"
#include "nn/layers.h"

namespace hr {

// relu(conv3x3(conv3x3(x)) + x). All tensors have the same shape [N, H, W, channels]. In inference the result may take
// the memory of an x that the caller moves into the call.
struct BasicBlock {
  ConvBn conv1, conv2;
  BasicBlock(ParameterStore& store, const std::string& name, int64_t channels);
  Tensor operator()(Context& cx, Tensor x) const;
};

// relu(conv1x1(conv3x3(conv1x1(x))) + skip) with 4 * planes output channels. The skip is x, or a 1x1 projection of x if
// the shape changes. In inference the result may take the memory of an x that the caller moves into the call.
struct Bottleneck {
  ConvBn conv1, conv2, conv3;
  std::optional<ConvBn> downsample;
  Bottleneck(ParameterStore& store, const std::string& name, int64_t in, int64_t planes, int stride);
  Tensor operator()(Context& cx, Tensor x) const;
};

// Parallel branches of four BasicBlocks each, then the fusion: every output is the sum of all branches, brought to the
// resolution of the output. x[b] is [N, H / 2^b, W / 2^b, channels[b]]. Without multi_scale_output only the first
// output is computed.
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
  // The stem, the first stage and the transition to two branches: [N, H, W, 3] -> [N, H/4, W/4, width] and
  // [N, H/8, W/8, 2 width]. The results lie in `into`, if it is not empty.
  std::vector<Tensor> begin(Context& cx, const Tensor& images, const std::vector<Tensor>& into = {}) const;
  // The same, with few pictures at a time where that is possible.
  std::vector<Tensor> begin_in_parts(Context& cx, const Tensor& images) const;

  std::vector<ConvBn> stem_;
  std::vector<Bottleneck> layer1_;
  std::vector<ConvBn> transition1_, transition2_, transition3_;
  std::vector<HighResolutionModule> stage2_, stage3_, stage4_;
  std::vector<Conv> final_layer_;
};

}  // namespace hr
