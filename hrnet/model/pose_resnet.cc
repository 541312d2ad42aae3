#include "hrnet/model/pose_resnet.h"

#include "core/error.h"
#include "ops/max_pool2d.h"

namespace hr {

PoseResNet::PoseResNet(std::string name, const std::array<int, 4>& blocks, int joints)
    : PoseModel(std::move(name), joints, true) {
  stem_.emplace_back(store_, "conv1", "bn1", ConvShape{3, 64, 7, 2, 3});
  int64_t in = 64;
  for (int layer = 0; layer < 4; ++layer) {
    const int64_t planes = int64_t{64} << layer;
    for (int k = 0; k < blocks[layer]; ++k) {
      blocks_.emplace_back(store_, fmt::format("layer{}.{}", layer + 1, k), in, planes, layer > 0 && k == 0 ? 2 : 1);
      in = 4 * planes;
    }
  }
  for (int k = 0; k < 3; ++k) {
    deconv_layers_.emplace_back(
        store_, fmt::format("deconv_layers.{}", 3 * k), fmt::format("deconv_layers.{}", 3 * k + 1),
        ConvShape{.in = in, .out = 256, .kernel = 4, .stride = 2, .pad = 1, .transposed = true});
    in = 256;
  }
  final_layer_.emplace_back(store_, "final_layer", ConvShape{in, joints, 1, 1, 0}, kHeatmapHead);
}

Tensor PoseResNet::network(Context& cx, const Tensor& images) const {
  Tensor y = max_pool2d(cx, stem_[0](cx, images, {.relu = true}));                // [N, H/4, W/4, 64]
  for (const Bottleneck& block : blocks_) y = block(cx, std::move(y));            // [N, H/32, W/32, 2048]
  for (const ConvBn& deconv : deconv_layers_) y = deconv(cx, y, {.relu = true});  // [N, H/4, W/4, 256]
  return final_layer_[0](cx, y);
}

}  // namespace hr
