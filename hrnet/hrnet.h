// Includes the whole public interface of the library. The headers that this file includes, directly or not, are those
// that are installed (cmake/public_headers.cmake follows the #include lines). The C interface is hrnet/c_api.h.
#pragma once

#include "hrnet/version.h"

// Pictures, boxes and poses, and drawing them.
#include "core/error.h"
#include "data/draw/draw.h"
#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "data/formats/mot.h"
#include "data/formats/skeleton.h"
#include "data/pose.h"
#include "data/video/video_reader.h"
#include "data/video/video_writer.h"

// Detecting people, estimating their poses, and tracking them.
#include "hrnet/infer/person_detector.h"
#include "hrnet/infer/pose_estimator.h"
#include "hrnet/infer/tracker.h"

// Networks for other programs.
#include "hrnet/export/onnx.h"

// Evaluation.
#include "eval/analysis.h"
#include "eval/box_eval.h"
#include "eval/coco_eval.h"
#include "eval/coco_files.h"
#include "eval/crowdpose.h"
#include "eval/decode.h"
#include "eval/nms.h"
#include "eval/pckh.h"
#include "eval/results.h"
#include "eval/track_eval.h"

// Networks, layers and ops, for training.
#include "core/context.h"
#include "core/tape.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "hrnet/model/load.h"
#include "hrnet/model/model.h"
#include "hrnet/train/pose_step.h"
#include "hrnet/train/train_step.h"
#include "nn/layers.h"
#include "nn/model.h"
#include "nn/optimizer.h"
#include "nn/parameters.h"
#include "nn/state_dict.h"
#include "ops/adam.h"
#include "ops/batch_norm.h"
#include "ops/concat.h"
#include "ops/conv/conv2d.h"
#include "ops/conv/depthwise_conv2d.h"
#include "ops/elementwise.h"
#include "ops/fuse.h"
#include "ops/heatmaps.h"
#include "ops/joints_loss.h"
#include "ops/max_pool2d.h"
#include "ops/mse.h"
#include "ops/reduce.h"

// Training and validation with the published recipes.
#include "hrnet/train/trainer.h"
#include "hrnet/validate/validation.h"
