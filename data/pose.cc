#include "data/pose.h"

namespace hr {

std::vector<float> keypoints(const Pose& pose) {
  std::vector<float> numbers;
  numbers.reserve(pose.joints.size() * 3);
  for (const Joint& joint : pose.joints) numbers.insert(numbers.end(), {joint.x, joint.y, joint.score});
  return numbers;
}

}  // namespace hr
