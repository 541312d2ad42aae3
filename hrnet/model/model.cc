#include "hrnet/model/model.h"

#include <charconv>

#include "core/error.h"
#include "hrnet/model/hrnet.h"
#include "hrnet/model/pose_resnet.h"
#include "ops/elementwise.h"

namespace hr {

Tensor PoseModel::forward(Context& cx, const Tensor& images) const {
  check(images.rank() == 4 && images.dim(3) == 3 &&
            (images.dtype() == DType::f32 || (images.dtype() == DType::bf16 && cx.precision == DType::bf16)),
        "{}: expected images [N, H, W, 3] f32 (or bf16 where the network computes in bf16), got {} of {}", name_,
        to_string(images.shape()), name_of(images.dtype()));
  check(images.dim(1) % 32 == 0 && images.dim(2) % 32 == 0 && images.dim(1) > 0 && images.dim(2) > 0,
        "{}: the input's height and width must be multiples of 32, got {} x {}", name_, images.dim(1), images.dim(2));
  return network(cx, cast(cx, images, cx.precision));
}

std::unique_ptr<PoseModel> declare_model(const std::string& name, int joints) {
  check_field(joints >= 1, "joints", "{}: expected at least 1", joints);
  std::unique_ptr<PoseModel> model;
  constexpr std::string_view prefix = "hrnet_w";
  if (name.starts_with(prefix)) {
    int width = 0;
    const char* end = name.data() + name.size();
    const auto [stop, code] = std::from_chars(name.data() + prefix.size(), end, width);
    if (code == std::errc() && stop == end && width >= 1 && width <= 1024)
      model = std::make_unique<HRNet>(name, width, joints);
  } else if (name == "pose_resnet50") {
    model = std::make_unique<PoseResNet>(name, std::array{3, 4, 6, 3}, joints);
  } else if (name == "pose_resnet101") {
    model = std::make_unique<PoseResNet>(name, std::array{3, 4, 23, 3}, joints);
  } else if (name == "pose_resnet152") {
    model = std::make_unique<PoseResNet>(name, std::array{3, 8, 36, 3}, joints);
  }
  check_field(model != nullptr, "model",
              "{}: expected hrnet_wC with a width C (hrnet_w32, hrnet_w48, ...), pose_resnet50, pose_resnet101 or "
              "pose_resnet152",
              name);
  return model;
}

std::unique_ptr<PoseModel> make_model(Context& cx, const std::string& name, int joints, uint64_t seed, Init init,
                                      Purpose purpose) {
  auto model = declare_model(name, joints);
  model->parameters().allocate(cx, seed, init, purpose);
  return model;
}

}  // namespace hr
