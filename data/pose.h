// A person found in a picture: the one form in which poses travel from the network to drawings, trackers and programs.
// It lies in data because drawing, which is the lowest room that needs it, may not see the networks.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "data/formats/coco.h"
#include "data/formats/skeleton.h"

namespace hr {

struct Joint {
  float x = 0, y = 0;     // pixels of the picture; the centre of its first pixel is (0, 0)
  float score = 0;        // 0 to 1, larger is surer
  const char* name = "";  // "left_knee"; belongs to the pose's skeleton
};

struct Pose {
  Box box;                                   // where the person was looked for, pixels; of a tracker: its estimate
  double score = 1;                          // 0 to 1
  std::vector<Joint> joints;                 // in the skeleton's order; empty where only the box is known
  int64_t track = 0;                         // of a tracker: the person's id, from 1 on; 0: unknown
  int64_t category = 1;                      // as in COCO's files: 1 is a person
  std::shared_ptr<const Skeleton> skeleton;  // keeps the joints' names alive; null where only the box is known
};

// x, y, score of each joint, [joints * 3], as drawing and the evaluators take them.
std::vector<float> keypoints(const Pose& pose);

}  // namespace hr
