#include "hrnet/model/hrnet.h"

#include "core/branches.h"
#include "core/error.h"
#include "ops/conv/conv2d.h"

namespace hr {

BasicBlock::BasicBlock(ParameterStore& store, const std::string& name, int64_t channels)
    : conv1(store, name + ".conv1", name + ".bn1", {channels, channels}),
      conv2(store, name + ".conv2", name + ".bn2", {channels, channels}) {}

// x is a value because only its owner can give its memory to the result (Conv2d::over_add).
Tensor BasicBlock::operator()(Context& cx, Tensor x) const {  // NOLINT(performance-unnecessary-value-param)
  return conv2(cx, conv1(cx, x, {.relu = true}), {.add = &x, .over_add = true, .relu = true});
}

Bottleneck::Bottleneck(ParameterStore& store, const std::string& name, int64_t in, int64_t planes, int stride)
    : conv1(store, name + ".conv1", name + ".bn1", {in, planes, 1, 1, 0}),
      conv2(store, name + ".conv2", name + ".bn2", {planes, planes, 3, stride, 1}),
      conv3(store, name + ".conv3", name + ".bn3", {planes, 4 * planes, 1, 1, 0}) {
  if (stride != 1 || in != 4 * planes)
    downsample.emplace(store, name + ".downsample.0", name + ".downsample.1", ConvShape{in, 4 * planes, 1, stride, 0});
}

Tensor Bottleneck::operator()(Context& cx, Tensor x) const {  // NOLINT(performance-unnecessary-value-param)
  const Tensor y = conv2(cx, conv1(cx, x, {.relu = true}), {.relu = true});
  if (!downsample) return conv3(cx, y, {.add = &x, .over_add = true, .relu = true});
  if (!cx.may_fold()) return fuse_terms(cx, {conv3.term(cx, y), downsample->term(cx, x)}, Act::relu);
  const Tensor skip = (*downsample)(cx, x);
  return conv3(cx, y, {.add = &skip, .over_add = true, .relu = true});
}

HighResolutionModule::HighResolutionModule(ParameterStore& store, const std::string& name,
                                           const std::vector<int64_t>& channels, bool multi_scale_output) {
  constexpr int kBlocks = 4;
  const size_t n = channels.size();
  for (size_t b = 0; b < n; ++b) {
    auto& blocks = branches_.emplace_back();
    for (int k = 0; k < kBlocks; ++k)
      blocks.emplace_back(store, fmt::format("{}.branches.{}.{}", name, b, k), channels[b]);
  }
  for (size_t i = 0; i < (multi_scale_output ? n : 1); ++i) {
    auto& row = fuse_layers_.emplace_back(n);
    for (size_t j = 0; j < n; ++j) {
      const std::string prefix = fmt::format("{}.fuse_layers.{}.{}", name, i, j);
      if (j > i) row[j].emplace_back(store, prefix + ".0", prefix + ".1", ConvShape{channels[j], channels[i], 1, 1, 0});
      // A lower resolution is reached by several convolutions. All but the last keep the channels of the source branch.
      for (size_t k = 0; j < i && k < i - j; ++k) {
        const std::string link = fmt::format("{}.{}", prefix, k);
        const int64_t out = k + 1 == i - j ? channels[i] : channels[j];
        row[j].emplace_back(store, link + ".0", link + ".1", ConvShape{channels[j], out, 3, 2, 1});
      }
    }
  }
}

std::vector<Tensor> HighResolutionModule::operator()(Context& cx, std::vector<Tensor> x) const {
  Branches parallel(cx);
  for (size_t b = 0; b < branches_.size(); ++b) {
    parallel.enter(static_cast<int>(b));
    for (const BasicBlock& block : branches_[b]) x[b] = block(cx, std::move(x[b]));
  }
  parallel.join();
  std::vector<Tensor> out;
  Branches outputs(cx);
  for (size_t i = 0; i < fuse_layers_.size(); ++i) {
    outputs.enter(static_cast<int>(i));
    std::vector<ConvBn::Term> terms;
    for (size_t j = 0; j < x.size(); ++j) {
      const auto& chain = fuse_layers_[i][j];
      if (chain.empty()) {
        terms.push_back({x[j], {}, 0});
        continue;
      }
      Tensor y = x[j];
      for (size_t k = 0; k + 1 < chain.size(); ++k) y = chain[k](cx, y, {.relu = true});
      terms.push_back(chain.back().term(cx, y, j > i ? static_cast<int>(j - i) : 0));
    }
    out.push_back(fuse_terms(cx, terms, Act::relu));
  }
  outputs.join();
  return out;
}

HRNet::HRNet(std::string name, int64_t width, int joints) : PoseModel(std::move(name), joints, false) {
  const int64_t c = width;
  stem_.emplace_back(store_, "conv1", "bn1", ConvShape{3, 64, 3, 2, 1});
  stem_.emplace_back(store_, "conv2", "bn2", ConvShape{64, 64, 3, 2, 1});
  for (int k = 0; k < 4; ++k) layer1_.emplace_back(store_, fmt::format("layer1.{}", k), k == 0 ? 64 : 256, 64, 1);
  transition1_.emplace_back(store_, "transition1.0.0", "transition1.0.1", ConvShape{256, c});
  transition1_.emplace_back(store_, "transition1.1.0.0", "transition1.1.0.1", ConvShape{256, 2 * c, 3, 2, 1});
  stage2_.emplace_back(store_, "stage2.0", std::vector{c, 2 * c}, true);
  transition2_.emplace_back(store_, "transition2.2.0.0", "transition2.2.0.1", ConvShape{2 * c, 4 * c, 3, 2, 1});
  for (int m = 0; m < 4; ++m)
    stage3_.emplace_back(store_, fmt::format("stage3.{}", m), std::vector{c, 2 * c, 4 * c}, true);
  transition3_.emplace_back(store_, "transition3.3.0.0", "transition3.3.0.1", ConvShape{4 * c, 8 * c, 3, 2, 1});
  // The last module computes only the output of the highest resolution.
  for (int m = 0; m < 3; ++m)
    stage4_.emplace_back(store_, fmt::format("stage4.{}", m), std::vector{c, 2 * c, 4 * c, 8 * c}, m < 2);
  final_layer_.emplace_back(store_, "final_layer", ConvShape{c, joints, 1, 1, 0}, kHeatmapHead);
}

std::vector<Tensor> HRNet::begin(Context& cx, const Tensor& images, const std::vector<Tensor>& into) const {
  Tensor y = images;                                                    // [N, H, W, 3]
  for (const ConvBn& conv : stem_) y = conv(cx, y, {.relu = true});     // [N, H/4, W/4, 64]
  for (const Bottleneck& block : layer1_) y = block(cx, std::move(y));  // [N, H/4, W/4, 256]
  std::vector<Tensor> x;
  for (size_t b = 0; b < transition1_.size(); ++b) {
    x.push_back(transition1_[b](cx, y, {.into = into.empty() ? nullptr : &into[b], .relu = true}));
  }
  return x;
}

// The first stage has the largest maps of the network and few weights. On a CPU its maps of a large batch would decide
// how much memory the network needs, and each layer would fetch from memory what the layer before it wrote. Few
// pictures at a time stay in the caches.
std::vector<Tensor> HRNet::begin_in_parts(Context& cx, const Tensor& images) const {
  static constexpr int64_t kPart = 2;  // Pictures.
  const int64_t n = images.dim(0), h = images.dim(1), w = images.dim(2), parts = n / kPart;
  if (parts < 2 || cx.device.is_cuda() || !cx.may_fold() || !writes_into(cx, images.dtype())) return begin(cx, images);
  std::vector<Tensor> x;
  for (size_t b = 0; b < transition1_.size(); ++b) {
    x.push_back(cx.empty({n, h >> (2 + b), w >> (2 + b), transition1_[b].shape().out}, images.dtype()));
  }
  const auto pictures = [](const Tensor& all, int64_t first, int64_t end) {
    Shape shape = all.shape();
    const int64_t each = all.numel() / shape[0];
    shape[0] = end - first;
    return all.view(std::move(shape), first * each);
  };
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t first = n * p / parts, end = n * (p + 1) / parts;
    std::vector<Tensor> into;
    for (const Tensor& all : x) into.push_back(pictures(all, first, end));
    begin(cx, pictures(images, first, end), into);
  }
  return x;
}

Tensor HRNet::network(Context& cx, const Tensor& images) const {
  std::vector<Tensor> x = begin_in_parts(cx, images);
  for (const auto& module : stage2_) x = module(cx, std::move(x));
  x.push_back(transition2_[0](cx, x.back(), {.relu = true}));
  for (const auto& module : stage3_) x = module(cx, std::move(x));
  x.push_back(transition3_[0](cx, x.back(), {.relu = true}));
  for (const auto& module : stage4_) x = module(cx, std::move(x));
  return final_layer_[0](cx, x[0]);  // [N, H/4, W/4, joints]
}

}  // namespace hr
