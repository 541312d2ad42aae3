# For `cpack -G DEB`, which makes libhrnet0, libhrnet-dev and hrnet-tools. They depend on the packages with whose
# libraries their files are linked.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME hrnet)
set(CPACK_PACKAGE_VENDOR "hrnet.cpp")
set(CPACK_PACKAGE_CONTACT "hrnet.cpp developers")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL lib dev tools)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR})
set(CPACK_DEBIAN_LIB_PACKAGE_NAME libhrnet${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_LIB_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIB_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_LIB_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
if(FFmpeg_FOUND)  # opened when a camera is asked for
  set(CPACK_DEBIAN_LIB_PACKAGE_SUGGESTS "libavdevice${FFmpeg_VERSION}")
endif()
set(CPACK_COMPONENT_LIB_DESCRIPTION
  "Human pose estimation: library\n Finds people and their joints in pictures, trains and evaluates pose networks.")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libhrnet-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
  "libhrnet${PROJECT_VERSION_MAJOR} (= ${PROJECT_VERSION}), libfmt-dev")
set(CPACK_COMPONENT_DEV_DESCRIPTION
  "Human pose estimation: headers\n What a C or C++ program needs to be built with libhrnet.")
set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME hrnet-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION science)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libhrnet${PROJECT_VERSION_MAJOR} (= ${PROJECT_VERSION})")
if(HR_WITH_WINDOW)  # opened when a window is asked for
  set(CPACK_DEBIAN_TOOLS_PACKAGE_SUGGESTS "libsdl2-2.0-0")
endif()
set(CPACK_COMPONENT_TOOLS_DESCRIPTION
  "Human pose estimation: program\n hrnet train, validate, predict, coco_eval and others.")
include(CPack)
