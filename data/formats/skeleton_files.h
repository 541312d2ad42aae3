// The text of data/formats/skeletons/*.json, compiled into the program by CMake.
#pragma once
#include <string_view>
#include <vector>

namespace hr {

struct SkeletonFile {
  std::string_view name, json;  // For example "coco.json" and its content.
};
const std::vector<SkeletonFile>& skeleton_files();

}  // namespace hr
