# Finds RapidJSON's headers and defines the target RapidJSON::RapidJSON.
include(FindPackageHandleStandardArgs)
find_path(RapidJSON_INCLUDE_DIR rapidjson/rapidjson.h)
find_package_handle_standard_args(RapidJSON REQUIRED_VARS RapidJSON_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "rapidjson/rapidjson.h not found (Debian: apt-get install rapidjson-dev)")
if(RapidJSON_FOUND AND NOT TARGET RapidJSON::RapidJSON)
  add_library(RapidJSON::RapidJSON INTERFACE IMPORTED)
  target_include_directories(RapidJSON::RapidJSON SYSTEM INTERFACE ${RapidJSON_INCLUDE_DIR})
endif()
mark_as_advanced(RapidJSON_INCLUDE_DIR)
