# Finds CUDA. Sets HR_WITH_CUDA and defines `hr_cuda`: the headers of the runtime, cuDNN, cuBLASLt and NCCL, and the
# static runtime library. cuDNN, cuBLASLt and NCCL are loaded when a program first uses a GPU (core/shared_library.h),
# so a program also starts on a machine that has none of them, and can report what is missing.
#
# The places that are searched are the toolkit, the system's folders, and the nvidia/* folders that Python wheels
# install: those in -DHR_CUDA_PREFIX=DIR (several with ;), in the active virtual or conda environment, and in that of
# the python3 on PATH.
set(HR_WITH_CUDA OFF)
set(HR_CUDA_PREFIX "" CACHE STRING "Folders to look in first for the CUDA toolkit, cuDNN and NCCL")
if(HR_CUDA STREQUAL "OFF")
  return()
elseif(NOT HR_CUDA MATCHES "^(AUTO|ON)$")
  message(FATAL_ERROR "HR_CUDA=${HR_CUDA}: expected AUTO, ON or OFF")
endif()

set(hr_cuda_roots ${HR_CUDA_PREFIX})
find_program(HR_PYTHON3 python3)  # its folder says which environment it belongs to; it is not run
mark_as_advanced(HR_PYTHON3)
get_filename_component(hr_python_folder "${HR_PYTHON3}" DIRECTORY)
foreach(environment $ENV{VIRTUAL_ENV} $ENV{CONDA_PREFIX} ${hr_python_folder}/.. /usr /usr/local)
  file(GLOB wheels ${environment}/lib/python3*/site-packages/nvidia/* ${environment}/lib/python3*/dist-packages/nvidia/*)
  list(APPEND hr_cuda_roots ${wheels})
endforeach()
list(APPEND hr_cuda_roots $ENV{CUDA_HOME} $ENV{CUDA_PATH} /usr/local/cuda)

find_program(HR_NVCC nvcc HINTS ${hr_cuda_roots} $ENV{CUDACXX} PATH_SUFFIXES bin)
mark_as_advanced(HR_NVCC)
set(hr_cuda_missing "")
if(NOT HR_NVCC)
  list(APPEND hr_cuda_missing "nvcc")
else()
  get_filename_component(nvcc_folder ${HR_NVCC} REALPATH)
  get_filename_component(nvcc_folder ${nvcc_folder} DIRECTORY)
  list(APPEND hr_cuda_roots ${nvcc_folder}/..)
  # The runtime's headers and its static library must be of nvcc's version, even if an active environment has others.
  set(hr_cudart_roots ${nvcc_folder}/.. ${nvcc_folder}/../targets/x86_64-linux)
endif()
# Each entry is: name of the variable, file.
foreach(wanted "CUDART;cuda_runtime_api.h" "CUDNN;cudnn_graph.h" "CUBLASLT;cublasLt.h")
  list(GET wanted 0 name)
  list(GET wanted 1 header)
  set(hints ${hr_cuda_roots})
  if(name STREQUAL "CUDART")
    list(PREPEND hints ${hr_cudart_roots})
  endif()
  find_path(HR_${name}_INCLUDE ${header} HINTS ${hints} PATH_SUFFIXES include)
  mark_as_advanced(HR_${name}_INCLUDE)
  if(NOT HR_${name}_INCLUDE)
    list(APPEND hr_cuda_missing ${header})
  endif()
endforeach()
find_path(HR_NCCL_INCLUDE nccl.h HINTS ${hr_cuda_roots} PATH_SUFFIXES include)
mark_as_advanced(HR_NCCL_INCLUDE)
# CUPTI is needed only by tools/bench/cupti_trace.cc.
find_path(HR_CUPTI_INCLUDE cupti.h HINTS ${hr_cudart_roots} ${hr_cuda_roots} PATH_SUFFIXES include extras/CUPTI/include)
find_library(HR_LIB_cupti NAMES libcupti.so libcupti.so.13 libcupti.so.12 NAMES_PER_DIR HINTS ${hr_cudart_roots} ${hr_cuda_roots}
  PATH_SUFFIXES lib64 lib extras/CUPTI/lib64)
mark_as_advanced(HR_CUPTI_INCLUDE HR_LIB_cupti)
find_library(HR_CUDART_STATIC libcudart_static.a HINTS ${hr_cudart_roots} ${hr_cuda_roots} PATH_SUFFIXES lib64 lib lib/x86_64-linux-gnu)
mark_as_advanced(HR_CUDART_STATIC)
if(NOT HR_CUDART_STATIC)
  list(APPEND hr_cuda_missing libcudart_static.a)
endif()

if(hr_cuda_missing)
  list(JOIN hr_cuda_missing ", " hr_cuda_missing)
  if(HR_CUDA STREQUAL "ON")
    message(FATAL_ERROR "HR_CUDA=ON, but these were not found: ${hr_cuda_missing}. Install the CUDA toolkit and cuDNN 9, or name their folders with -DHR_CUDA_PREFIX=DIR;DIR")
  endif()
  message(STATUS "CUDA: off (not found: ${hr_cuda_missing})")
  return()
endif()

# Generates code for the GPU of this machine. On a machine without a GPU it generates code for the data-centre
# generations that we test (A100, H100/H200) plus PTX, which newer drivers compile for newer chips.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  find_program(HR_NVIDIA_SMI nvidia-smi)
  mark_as_advanced(HR_NVIDIA_SMI)
  set(hr_has_gpu 1)
  if(HR_NVIDIA_SMI)
    execute_process(COMMAND ${HR_NVIDIA_SMI} -L RESULT_VARIABLE hr_has_gpu OUTPUT_QUIET ERROR_QUIET)
  endif()
  if(hr_has_gpu EQUAL 0)
    set(CMAKE_CUDA_ARCHITECTURES native)
  else()
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
  endif()
endif()
set(CMAKE_CUDA_COMPILER ${HR_NVCC})
enable_language(CUDA)
file(STRINGS ${HR_CUDART_INCLUDE}/cuda_runtime_api.h hr_cudart_version REGEX "#define CUDART_VERSION")
string(REGEX MATCH "[0-9]+" hr_cudart_version "${hr_cudart_version}")
math(EXPR hr_cudart_major "${hr_cudart_version} / 1000")
if(NOT CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL ${hr_cudart_major} OR
   CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL "${hr_cudart_major}.99")
  message(FATAL_ERROR "nvcc is ${CMAKE_CUDA_COMPILER_VERSION} (${HR_NVCC}), the runtime's headers are of CUDA ${hr_cudart_major} "
    "(${HR_CUDART_INCLUDE}); name the folders of one version with -DHR_CUDA_PREFIX=DIR, or build with -DHR_CUDA=OFF")
endif()
# CMake 3.25 does not know that nvcc supports C++20.
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(HR_WITH_CUDA ON)

add_library(hr_cuda INTERFACE)
target_include_directories(hr_cuda SYSTEM INTERFACE ${HR_CUDART_INCLUDE} ${HR_CUDNN_INCLUDE} ${HR_CUBLASLT_INCLUDE})
file(STRINGS ${HR_CUDNN_INCLUDE}/cudnn_graph.h hr_cudnn_describes REGEX "CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR")
if(hr_cudnn_describes)
  target_compile_definitions(hr_cuda INTERFACE HR_CUDNN_DESCRIBES_GPUS)
endif()
target_link_libraries(hr_cuda INTERFACE ${HR_CUDART_STATIC} ${CMAKE_DL_LIBS} rt)
# The warnings are those of the C++ code. -fmad stays on, as contraction does in ops/.
set(hr_cuda_warnings "-Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers")
if(HR_WERROR)
  string(APPEND hr_cuda_warnings ",-Werror -Werror all-warnings")
endif()
target_compile_options(hr_cuda INTERFACE
  "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:${hr_cuda_warnings} --expt-relaxed-constexpr --extended-lambda>")
# dlopen looks in the folders in which the libraries were found now, in the order in which the headers were searched,
# and then in the system's search path.
set(hr_cuda_libraries "")
foreach(library cudnn cublasLt nccl)
  find_library(HR_LIB_${library} NAMES lib${library}.so lib${library}.so.9 lib${library}.so.13 lib${library}.so.12 lib${library}.so.2
    NAMES_PER_DIR HINTS ${hr_cuda_roots} PATH_SUFFIXES lib64 lib)
  mark_as_advanced(HR_LIB_${library})
  if(HR_LIB_${library})
    get_filename_component(folder ${HR_LIB_${library}} DIRECTORY)
    list(APPEND hr_cuda_libraries ${folder})
  endif()
endforeach()
list(REMOVE_DUPLICATES hr_cuda_libraries)
list(APPEND CMAKE_BUILD_RPATH ${hr_cuda_libraries})
list(APPEND CMAKE_INSTALL_RPATH ${hr_cuda_libraries})
message(STATUS "CUDA: on (nvcc ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES})")
