// What a set of joints is: names, limbs, mirror pairs, OKS sigmas. Nothing else in the code knows the number 17.
#pragma once
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"

namespace hr {

struct Skeleton {
  std::vector<std::string> names;
  std::vector<std::pair<int, int>> limbs;       // 0-based joint indices
  std::vector<std::pair<int, int>> flip_pairs;  // 0-based, joints that change places in a mirror
  std::vector<float> joint_weights;             // the seed's kps_weights; 1 when absent
  std::vector<double> sigmas;                   // OKS sigma per joint, (COCO's numbers) / 10
  std::vector<int> upper_ids, lower_ids;        // for half-body augmentation

  int joints() const { return static_cast<int>(names.size()); }
  std::vector<int> mirror() const;  // mirror()[k] is the joint that k becomes in a mirrored picture
};

// COCO's 17 joints, built in, equal to the seed's person_keypoints.json.
const Skeleton& coco_skeleton();

// The seed's person_keypoints.json: keypoints (names), skeleton (1-based limbs), flip_pairs (0-based), kps_weights,
// upper_body_ids, lower_body_ids; optional: sigmas. Every index and length is checked; Error names the file and field.
// Without `sigmas`, COCO's are used for 17 joints, else 0.05 for every joint.
Skeleton read_skeleton(const fs::path& path);

}  // namespace hr
