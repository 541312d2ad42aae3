// A set of joints: names, limbs, mirror pairs, OKS sigmas. Skeletons are data (data/formats/skeletons/*.json, a user's
// file, or the categories of an annotation file); no code depends on the number of joints.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/file.h"

namespace hr {

struct Skeleton {
  std::string name;  // For example "coco". If the file gives no name, this is its path.
  std::vector<std::string> names;
  std::vector<std::pair<int, int>> limbs;       // Joint indices counted from 0.
  std::vector<std::pair<int, int>> flip_pairs;  // Counted from 0: joints that change places in a mirror.
  std::vector<float> joint_weights;             // The seed's kps_weights; 1 if absent.
  std::vector<double> sigmas;             // The OKS sigma of each joint: OKS = mean exp(-d^2 / (2 area (2 sigma)^2)).
  std::vector<int> upper_ids, lower_ids;  // For half-body augmentation. A joint in neither list counts as lower.
  // True if no source gave the sigmas: they are COCO's for 17 joints, otherwise 0.05 each. See sigmas_doubt().
  bool sigmas_assumed = false;

  int joints() const { return static_cast<int>(names.size()); }
  std::vector<int> mirror() const;  // mirror()[k] is the joint that k becomes in a mirrored picture.
  bool operator==(const Skeleton&) const = default;
};

// Returns a built-in skeleton: coco, mpii, crowdpose, aic, halpe26, coco_wholebody, ap10k. Upper and lower case, '-',
// '_' and the number of joints at the end do not matter: "COCO-17" is coco. Throws Error that lists the known names.
const Skeleton& built_in_skeleton(std::string_view name);
std::vector<std::string> built_in_skeleton_names();
inline const Skeleton& coco_skeleton() { return built_in_skeleton("coco"); }

// Finds a skeleton: "" is COCO; otherwise the name of a built-in skeleton, or a file. Throws Error that says which of
// them it tried.
Skeleton find_skeleton(const std::string& name_or_path);

// Reads the seed's person_keypoints.json: keypoints (names), skeleton (limbs counted from 1), flip_pairs (counted from
// 0), kps_weights, upper_body_ids, lower_body_ids, and optionally name and sigmas. Without `sigmas`, those of the
// built-in skeleton with the same joints are taken; if there is none, they are assumed. Every field, index and length
// is checked; throws Error that names the file and the field.
Skeleton read_skeleton(const fs::path& path);
// The same for a text in memory, which the fuzz target needs; `where` stands in messages in place of the file.
Skeleton parse_skeleton(std::string_view json, const std::string& where);

// Returns a skeleton as one text, for the metadata of a weight file: the name of a built-in skeleton that is equal in
// everything, otherwise the JSON of a skeleton file. Folders in the name are left out.
std::string skeleton_to_text(const Skeleton& skeleton);
// Reads such a text. The file may come from anywhere, so at most 1,000 joints with names of at most 200 bytes are
// accepted. Throws Error with `where` and the reason.
Skeleton skeleton_from_text(std::string_view text, const std::string& where);

// Returns the first difference between two skeletons with the same number of joints, such as `joint 3 is "tail" instead
// of "knee"`; empty if there is none. The names of the skeletons and fields that only augmentation uses are not
// compared.
std::string skeleton_difference(const Skeleton& skeleton, const Skeleton& other);

// Makes a skeleton from joint names and limbs counted from 1, which the category of an annotation file has. If a
// built-in skeleton has the same joints in the same order, the result is that skeleton with the given names. Otherwise
// pairs follow from the names (left_x and right_x, l_x and r_x, x_left and x_right); hips, knees, ankles, heels, toes,
// feet and tails are the lower body; sigmas are assumed. Limbs that point to a joint that does not exist are left out
// and counted in `*dropped_limbs`, because published files contain such limbs.
Skeleton skeleton_from_names(std::vector<std::string> names, std::span<const std::pair<int, int>> limbs,
                             const std::string& where, int* dropped_limbs = nullptr);

}  // namespace hr
