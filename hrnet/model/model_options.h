// What is to be known about a network before one can work with it.
#pragma once
#include <array>
#include <optional>
#include <string>

namespace hr {

// Plain settings; errors name them by these fields. What is left open (empty, nullopt) is taken from the weights.
struct ModelOptions {
  std::string weights;         // a file: safetensors or PyTorch's .pth
  std::string model;           // hrnet_wC, pose_resnet50, pose_resnet101 or pose_resnet152
  std::string keypoints_path;  // the skeleton: a built-in name or a file
  std::string color;           // order of the input's channels: rgb or bgr
  std::string device = "cpu";  // and precision and threads: ContextOptions (hrnet/model/make_context.h)
  std::optional<int> joints;
  std::optional<std::array<int, 2>> fixed_size;  // height and width of the input in pixels, multiples of 32
  int threads = 0;
  bool amp = false, tf32 = false, exact = false;
};

}  // namespace hr
