// The texts of data/formats/skeletons/*.json, which CMake compiles into the library.
#pragma once
#include <string_view>
#include <vector>

namespace hr {

struct SkeletonFile {
  std::string_view name, json;  // For example "coco.json" and its content.
};
const std::vector<SkeletonFile>& skeleton_files();

}  // namespace hr
