/* The version of the library. CMake reads it from this file; C and C++ programs may test it in the preprocessor. */
#ifndef HRNET_VERSION_H
#define HRNET_VERSION_H

#define HRNET_VERSION_MAJOR 0
#define HRNET_VERSION_MINOR 2
#define HRNET_VERSION_PATCH 0
#define HRNET_VERSION "0.2.0"
#define HRNET_VERSION_NUMBER (HRNET_VERSION_MAJOR * 10000 + HRNET_VERSION_MINOR * 100 + HRNET_VERSION_PATCH)

#endif
