// PoseNetwork holds a pose network and the settings that PoseEstimator needs to run it.
#pragma once
#include <memory>
#include <string>

#include "core/context.h"
#include "data/formats/skeleton.h"
#include "hrnet/infer/decoding.h"
#include "hrnet/model/model.h"

namespace hr {

struct PoseNetwork {
  std::string weights;                       // Messages name this file.
  Context cx;                                // The context chooses the device, the precision and the number of threads.
  std::unique_ptr<PoseModel> model;          // The model has its weights loaded.
  std::shared_ptr<const Skeleton> skeleton;  // The skeleton has model->joints() joints.
  Decoding decoding;
  int input_h = 256, input_w = 192;  // Both are numbers of pixels and multiples of 32.
};

}  // namespace hr
