# Finds CLI11's headers (Debian ships a pkg-config file, other systems a CMake package) and defines the target
# CLI11::CLI11.
include(FindPackageHandleStandardArgs)
find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp)
find_package_handle_standard_args(CLI11 REQUIRED_VARS CLI11_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "CLI/CLI.hpp not found (Debian: apt-get install libcli11-dev)")
if(CLI11_FOUND AND NOT TARGET CLI11::CLI11)
  add_library(CLI11::CLI11 INTERFACE IMPORTED)
  target_include_directories(CLI11::CLI11 SYSTEM INTERFACE ${CLI11_INCLUDE_DIR})
endif()
mark_as_advanced(CLI11_INCLUDE_DIR)
