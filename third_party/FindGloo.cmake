# Finds Gloo (collectives over TCP) and defines the target Gloo::gloo. The package's own CMake file is not used, because
# Debian's must be found under two names.
include(FindPackageHandleStandardArgs)
find_path(Gloo_INCLUDE_DIR gloo/allreduce.h)
find_library(Gloo_LIBRARY gloo)
find_package_handle_standard_args(Gloo REQUIRED_VARS Gloo_LIBRARY Gloo_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "Gloo not found (Debian: apt-get install libgloo-dev, or build for one process with -DHR_GLOO=OFF)")
if(Gloo_FOUND AND NOT TARGET Gloo::gloo)
  add_library(Gloo::gloo UNKNOWN IMPORTED)
  set_target_properties(Gloo::gloo PROPERTIES IMPORTED_LOCATION ${Gloo_LIBRARY})
  target_include_directories(Gloo::gloo SYSTEM INTERFACE ${Gloo_INCLUDE_DIR})
endif()
mark_as_advanced(Gloo_INCLUDE_DIR Gloo_LIBRARY)
