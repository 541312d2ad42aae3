# Finds stb's headers and defines the target Stb::Stb.
include(FindPackageHandleStandardArgs)
find_path(Stb_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb)
find_package_handle_standard_args(Stb REQUIRED_VARS Stb_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "stb_image.h not found (Debian: apt-get install libstb-dev)")
if(Stb_FOUND AND NOT TARGET Stb::Stb)
  add_library(Stb::Stb INTERFACE IMPORTED)
  target_include_directories(Stb::Stb SYSTEM INTERFACE ${Stb_INCLUDE_DIR})
endif()
mark_as_advanced(Stb_INCLUDE_DIR)
