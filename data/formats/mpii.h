// MPII Human Pose as the official repository distributes it: annot/{train,valid,trainval,test}.json (a list of people
// with image, center, scale, joints, joints_vis) and annot/gt_valid.mat (ground truth and head boxes for PCKh).
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/file.h"

namespace hr {

struct MpiiPerson {
  std::string image;            // The file name.
  double center[2] = {0, 0};    // In pixels, counted from 1, as in the file.
  double scale = 0;             // The height of the person in units of 200 pixels, as in the file.
  std::vector<double> joints;   // [16][x, y] in pixels counted from 1; empty in the test set.
  std::vector<double> visible;  // [16], 0 or 1.
};

struct MpiiAnnotations {
  std::string path;  // For messages.
  int joints = 16;
  std::vector<MpiiPerson> people;
};

// Throws Error with the path, the index of the entry and the field for a value that is missing or wrong. Every entry
// must have `joints` joints, or none has any.
MpiiAnnotations read_mpii(const fs::path& path, int joints = 16);

// Returns true if the file looks like MPII's list and not like a COCO file (an object): its first character is '['.
bool is_mpii(const fs::path& path);

// The official place of a person in pixels counted from 0: the centre is moved down by 15 scale, then both coordinates
// by -1, and the scale is multiplied by 1.25. A centre at x = -1, which the reference uses as a sentinel, is only moved
// by -1 and keeps its scale.
struct MpiiPlace {
  double center[2] = {0, 0};  // In pixels.
  double scale = 0;           // In units of 200 pixels, for both directions.
};
MpiiPlace mpii_place(const MpiiPerson& person);

// The content of gt_valid.mat, with which PCKh compares.
struct MpiiTruth {
  std::string path;                      // For messages.
  std::vector<std::string> joint_names;  // dataset_joints: rank, rkne, ...
  int64_t people = 0;
  std::vector<double> joints;    // pos_gt_src [16, 2, people], where the people vary fastest; pixels counted from 1.
  std::vector<uint8_t> missing;  // jnt_missing [16, people].
  std::vector<double> heads;     // headboxes_src [2 corners, 2, people].
};
// Throws Error that names the variable and both shapes.
MpiiTruth read_mpii_truth(const fs::path& path);

}  // namespace hr
