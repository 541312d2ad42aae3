# yaml-cpp, which reads YAML; defines the target YamlCpp::YamlCpp.
find_path(YamlCpp_INCLUDE_DIR yaml-cpp/parser.h)
find_library(YamlCpp_LIBRARY yaml-cpp)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(YamlCpp REQUIRED_VARS YamlCpp_LIBRARY YamlCpp_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "yaml-cpp not found (Debian: apt-get install libyaml-cpp-dev)")
if(YamlCpp_FOUND AND NOT TARGET YamlCpp::YamlCpp)
  add_library(YamlCpp::YamlCpp UNKNOWN IMPORTED)
  set_target_properties(YamlCpp::YamlCpp PROPERTIES IMPORTED_LOCATION ${YamlCpp_LIBRARY})
  target_include_directories(YamlCpp::YamlCpp SYSTEM INTERFACE ${YamlCpp_INCLUDE_DIR})
endif()
mark_as_advanced(YamlCpp_INCLUDE_DIR YamlCpp_LIBRARY)
