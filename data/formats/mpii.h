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
  std::string image;            // file name
  double center[2] = {0, 0};    // pixels, counted from 1, as in the file
  double scale = 0;             // person's height in units of 200 pixels, as in the file
  std::vector<double> joints;   // [16][x, y] pixels counted from 1; empty in the test set
  std::vector<double> visible;  // [16] 0 or 1
};

struct MpiiAnnotations {
  std::string path;  // for messages
  int joints = 16;
  std::vector<MpiiPerson> people;
};

// Error: path, entry's index and field for anything missing or wrong; every entry has `joints` joints, or none has any.
MpiiAnnotations read_mpii(const fs::path& path, int joints = 16);

// True if the file looks like MPII's list rather than a COCO file (an object): its first character is '['.
bool is_mpii(const fs::path& path);

// The official place of a person, pixels counted from 0: the centre moved down by 15 scale, then everything by -1, the
// scale times 1.25. A centre at x = -1 keeps its place (but for the -1) and its scale: a sentinel of the reference.
struct MpiiPlace {
  double center[2] = {0, 0};  // pixels
  double scale = 0;           // units of 200 pixels, both directions
};
MpiiPlace mpii_place(const MpiiPerson& person);

// gt_valid.mat: what PCKh compares with.
struct MpiiTruth {
  std::string path;                      // for messages
  std::vector<std::string> joint_names;  // dataset_joints: rank, rkne, ...
  int64_t people = 0;
  std::vector<double> joints;    // pos_gt_src [16, 2, people], people fastest; pixels counted from 1
  std::vector<uint8_t> missing;  // jnt_missing [16, people]
  std::vector<double> heads;     // headboxes_src [2 corners, 2, people]
};
// Error names the variable and both shapes.
MpiiTruth read_mpii_truth(const fs::path& path);

}  // namespace hr
