// The text of data/skeletons/*.json, put into the program by CMake.
#pragma once
#include <string_view>
#include <vector>

namespace hr {

struct SkeletonFile {
  std::string_view name, json;  // "coco.json" and what is in it
};
const std::vector<SkeletonFile>& skeleton_files();

}  // namespace hr
