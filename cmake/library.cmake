# Makes one shared library of all rooms and says what is installed: libhrnet.so, its headers, the files for find_package
# and pkg-config, and the program `hrnet`. A consumer links hrnet::hrnet, with add_subdirectory as with find_package,
# and gets the include folder, C++20 and fmt, but none of our flags.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(rooms core io digest comm ops nn data eval hrnet)
set(objects ${rooms})
list(TRANSFORM objects REPLACE "(.+)" "$<TARGET_OBJECTS:hr_\\1>")
add_library(hrnet SHARED ${objects})
add_library(hrnet::hrnet ALIAS hrnet)
set(exports ${CMAKE_CURRENT_LIST_DIR}/exports.map)
# The object files already define every symbol, so the linker takes from the rooms' archives only what they need from
# other libraries.
target_link_libraries(hrnet PRIVATE hr_hrnet PUBLIC fmt::fmt)
target_link_options(hrnet PRIVATE -Wl,--version-script=${exports} -Wl,-Bsymbolic-functions -Wl,--no-undefined)
target_compile_features(hrnet PUBLIC cxx_std_20)
target_include_directories(hrnet INTERFACE
  $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
set_target_properties(hrnet PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINKER_LANGUAGE CXX
  LINK_DEPENDS ${exports})
if(HR_SANITIZE)
  set_property(TARGET hrnet APPEND PROPERTY LINK_OPTIONS -Wl,-z,undefs)  # the program defines the sanitizers' symbols
endif()

# Installs the headers again whenever one of ours has changed.
set(headers)
foreach(room core ops nn data eval hrnet)
  file(GLOB_RECURSE some CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${room}/*.h)
  list(APPEND headers ${some})
endforeach()
set(stamp ${PROJECT_BINARY_DIR}/public_headers.stamp)
set(install_headers ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUT=${PROJECT_BINARY_DIR}/include
  -P ${CMAKE_CURRENT_LIST_DIR}/public_headers.cmake)
# Ninja must know the copies. Otherwise it looks at their times before it writes them, and a program that includes them
# is compiled again only by the next build: until then it has another layout of our classes than the library.
execute_process(COMMAND ${install_headers} COMMAND_ERROR_IS_FATAL ANY)
file(GLOB_RECURSE public_headers ${PROJECT_BINARY_DIR}/include/hrnet/*.h)
add_custom_command(OUTPUT ${stamp} BYPRODUCTS ${public_headers}
  COMMAND ${install_headers}
  COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
  DEPENDS ${headers} ${CMAKE_CURRENT_LIST_DIR}/public_headers.cmake COMMENT "Public headers" VERBATIM)
add_custom_target(hrnet_headers DEPENDS ${stamp})
add_dependencies(hrnet hrnet_headers)

# There are three packages: lib to run programs, dev to build them, and tools with the program hrnet.
install(TARGETS hrnet EXPORT hrnet-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT lib NAMELINK_COMPONENT dev)
install(DIRECTORY ${PROJECT_BINARY_DIR}/include/hrnet DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)
install(EXPORT hrnet-targets NAMESPACE hrnet:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hrnet COMPONENT dev)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/hrnet-config.cmake.in ${PROJECT_BINARY_DIR}/hrnet-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hrnet NO_SET_AND_CHECK_MACRO)
# Before 1.0 a new minor version may change any interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/hrnet-config-version.cmake COMPATIBILITY SameMinorVersion)
configure_file(${CMAKE_CURRENT_LIST_DIR}/hrnet.pc.in ${PROJECT_BINARY_DIR}/hrnet.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/hrnet-config.cmake ${PROJECT_BINARY_DIR}/hrnet-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/hrnet COMPONENT dev)
install(FILES ${PROJECT_BINARY_DIR}/hrnet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
install(TARGETS hrnet_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
set_target_properties(hrnet_program PROPERTIES
  INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR};${CMAKE_INSTALL_RPATH}")
