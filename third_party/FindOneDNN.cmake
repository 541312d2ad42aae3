# Finds oneDNN (libdnnl) and defines the target DNNL::dnnl. The package's own CMake file is not used, because Debian's
# requires the OpenCL development files, which a CPU build does not need.
include(FindPackageHandleStandardArgs)
find_path(OneDNN_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(OneDNN_LIBRARY dnnl)
find_package_handle_standard_args(OneDNN REQUIRED_VARS OneDNN_LIBRARY OneDNN_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "oneDNN not found (Debian: apt-get install libdnnl-dev)")
if(OneDNN_FOUND AND NOT TARGET DNNL::dnnl)
  add_library(DNNL::dnnl UNKNOWN IMPORTED)
  set_target_properties(DNNL::dnnl PROPERTIES IMPORTED_LOCATION ${OneDNN_LIBRARY})
  target_include_directories(DNNL::dnnl SYSTEM INTERFACE ${OneDNN_INCLUDE_DIR})
endif()
mark_as_advanced(OneDNN_INCLUDE_DIR OneDNN_LIBRARY)
