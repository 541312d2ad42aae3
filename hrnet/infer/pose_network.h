// A pose network with everything that belongs around it, as PoseEstimator uses it.
#pragma once
#include <memory>
#include <string>

#include "core/context.h"
#include "data/formats/skeleton.h"
#include "hrnet/infer/decoding.h"
#include "hrnet/model/model.h"

namespace hr {

struct PoseNetwork {
  std::string weights;                       // the file, for messages
  Context cx;                                // device, precision and threads
  std::unique_ptr<PoseModel> model;          // with its weights
  std::shared_ptr<const Skeleton> skeleton;  // of model->joints() joints
  Decoding decoding;
  int input_h = 256, input_w = 192;  // multiples of 32
};

}  // namespace hr
