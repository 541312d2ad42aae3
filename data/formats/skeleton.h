// What a set of joints is: names, limbs, mirror pairs, OKS sigmas. Skeletons are data (data/skeletons/*.json, a user's
// file, or the categories of an annotation file); no code knows how many joints there are.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/file.h"

namespace hr {

struct Skeleton {
  std::string name;  // "coco"; a file without a name has its path here
  std::vector<std::string> names;
  std::vector<std::pair<int, int>> limbs;       // 0-based joint indices
  std::vector<std::pair<int, int>> flip_pairs;  // 0-based, joints that change places in a mirror
  std::vector<float> joint_weights;             // the seed's kps_weights; 1 when absent
  std::vector<double> sigmas;                   // OKS sigma per joint: OKS = mean exp(-d^2 / (2 area (2 sigma)^2))
  std::vector<int> upper_ids, lower_ids;        // for half-body augmentation; a joint in neither counts as lower
  bool sigmas_assumed = false;                  // nobody said them: COCO's for 17, else 0.05 each; see sigmas_doubt()

  int joints() const { return static_cast<int>(names.size()); }
  std::vector<int> mirror() const;  // mirror()[k] is the joint that k becomes in a mirrored picture
  bool operator==(const Skeleton&) const = default;
};

// The built-in ones: coco, mpii, crowdpose, aic, halpe26, coco_wholebody, ap10k. Upper and lower case, '-', '_' and the
// number of joints at the end make no difference: "COCO-17" is coco. Error lists the names there are.
const Skeleton& built_in_skeleton(std::string_view name);
std::vector<std::string> built_in_skeleton_names();
inline const Skeleton& coco_skeleton() { return built_in_skeleton("coco"); }

// --keypoints-path: "" is COCO, the name of a built-in skeleton, or a file. Error says which of them it tried.
Skeleton find_skeleton(const std::string& name_or_path);

// The seed's person_keypoints.json: keypoints (names), skeleton (1-based limbs), flip_pairs (0-based), kps_weights,
// upper_body_ids, lower_body_ids; and optionally name, sigmas. Every field, index and length is checked; Error names
// the file and the field. Without `sigmas`, those of the built-in skeleton with the same joints, else assumed.
Skeleton read_skeleton(const fs::path& path);
Skeleton parse_skeleton(std::string_view json, const std::string& where);

// A skeleton as one text, which travels in the metadata of a weight file: the name of a built-in skeleton that is the
// same in everything, else the JSON of a skeleton file. Folders in the name are left out.
std::string skeleton_to_text(const Skeleton& skeleton);
// Reads such a text. The file may come from anybody: at most 1,000 joints with names of at most 200 bytes are accepted.
// Throws Error with `where` and the reason.
Skeleton skeleton_from_text(std::string_view text, const std::string& where);

// The first thing that two skeletons of equally many joints disagree about, such as `joint 3 is "tail" instead of
// "knee"`; empty if there is none. Names of the skeletons and what only augmentation uses do not matter.
std::string skeleton_difference(const Skeleton& skeleton, const Skeleton& other);

// From joint names and 1-based limbs, as an annotation file's category has them. Joints that a built-in skeleton has in
// the same order make it that skeleton, with the given names. Else: pairs by name (left_x and right_x, l_x and r_x,
// x_left and x_right), hips, knees, ankles, heels, toes, feet and tails are lower body, sigmas are assumed.
// Limbs that point to no joint are left out and counted in `*dropped_limbs` (published files have such).
Skeleton skeleton_from_names(std::vector<std::string> names, std::span<const std::pair<int, int>> limbs,
                             const std::string& where, int* dropped_limbs = nullptr);

}  // namespace hr
