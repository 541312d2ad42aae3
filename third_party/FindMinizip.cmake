# Finds minizip, the zip reader and writer that comes with zlib, and defines the target Minizip::Minizip.
include(FindPackageHandleStandardArgs)
find_package(ZLIB REQUIRED)
find_path(Minizip_INCLUDE_DIR minizip/unzip.h)
find_library(Minizip_LIBRARY minizip)
find_package_handle_standard_args(Minizip REQUIRED_VARS Minizip_LIBRARY Minizip_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "minizip not found (Debian: apt-get install libminizip-dev)")
if(Minizip_FOUND AND NOT TARGET Minizip::Minizip)
  add_library(Minizip::Minizip UNKNOWN IMPORTED)
  set_target_properties(Minizip::Minizip PROPERTIES IMPORTED_LOCATION ${Minizip_LIBRARY})
  target_include_directories(Minizip::Minizip SYSTEM INTERFACE ${Minizip_INCLUDE_DIR})
  target_link_libraries(Minizip::Minizip INTERFACE ZLIB::ZLIB)
endif()
mark_as_advanced(Minizip_INCLUDE_DIR Minizip_LIBRARY)
