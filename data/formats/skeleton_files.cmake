# The built-in skeletons: data/formats/skeletons/*.json become strings in the library, so that a program needs no files beside it.
# hr_skeleton_files(TARGET) adds them.
function(hr_skeleton_files target)
  file(GLOB skeletons CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/data/formats/skeletons/*.json)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${skeletons})
  set(entries "")
  foreach(file ${skeletons})
    get_filename_component(name ${file} NAME)
    file(READ ${file} text)
    string(APPEND entries "    {\"${name}\", R\"json(${text})json\"},\n")
  endforeach()
  file(CONFIGURE OUTPUT skeleton_files.cc @ONLY CONTENT [[
// Made by data/formats/skeleton_files.cmake from data/formats/skeletons/*.json.
#include "data/formats/skeleton_files.h"

namespace hr {

const std::vector<SkeletonFile>& skeleton_files() {
  static const std::vector<SkeletonFile> files = {
@entries@  };
  return files;
}

}  // namespace hr
]])
  target_sources(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/skeleton_files.cc)
endfunction()
