// The settings of a network that all programs share.
#pragma once
#include <array>
#include <optional>
#include <string>

namespace hr {

// Errors name a setting by its field. A setting that is left open (empty, nullopt) is taken from the weight file.
struct ModelOptions {
  std::string weights;         // Weight file: safetensors, PyTorch's .pth or ONNX.
  std::string model;           // hrnet_wC, pose_resnet50, pose_resnet101 or pose_resnet152.
  std::string keypoints_path;  // The skeleton: the name of a built-in one, or a file.
  std::string color;           // Order of the input's colour channels: rgb or bgr.
  // Device, precision and threads are those of ContextOptions (hrnet/model/make_context.h).
  std::string device = "cpu";
  std::optional<int> joints;
  std::optional<std::array<int, 2>> fixed_size;  // Height and width of the input in pixels, multiples of 32.
  int threads = 0;
  // auto, f32, bf16 or int8; empty: as `amp` says. settle_precision (hrnet/train/precision.h) turns it into `amp`.
  std::string precision;
  bool amp = false, tf32 = false, exact = false;
};

}  // namespace hr
