# cmake -DSOURCE=DIR -DOUT=DIR -P public_headers.cmake copies the public headers to OUT/hrnet.
#
# A header is public if hrnet/hrnet.h or hrnet/c_api.h includes it, directly or not. The headers of all rooms are put
# below one folder, hrnet/, and include each other as <hrnet/ROOM/NAME.h>. Names as common as core/ and data/ on a
# program's search path would find the program's own files, or hide them.
cmake_minimum_required(VERSION 3.22)
set(todo hrnet/hrnet.h hrnet/c_api.h)
set(seen)
while(todo)
  list(POP_FRONT todo header)
  if(header IN_LIST seen)
    continue()
  endif()
  list(APPEND seen ${header})
  file(STRINGS ${SOURCE}/${header} includes REGEX "^#include \"")
  foreach(line IN LISTS includes)
    string(REGEX REPLACE "^#include \"([^\"]+)\".*" "\\1" file "${line}")
    list(APPEND todo ${file})
  endforeach()
endwhile()

file(GLOB_RECURSE old RELATIVE ${OUT}/hrnet ${OUT}/hrnet/*.h)
foreach(header IN LISTS seen)
  string(REGEX REPLACE "^hrnet/" "" place ${header})
  list(REMOVE_ITEM old ${place})
  file(READ ${SOURCE}/${header} text)
  string(REGEX REPLACE "#include \"hrnet/([^\"\n]+)\"" "#include <hrnet/\\1>" text "${text}")
  string(REGEX REPLACE "#include \"([a-z]+/[^\"\n]+)\"" "#include <hrnet/\\1>" text "${text}")
  set(before "")
  if(EXISTS ${OUT}/hrnet/${place})
    file(READ ${OUT}/hrnet/${place} before)
  endif()
  if(NOT text STREQUAL before)
    file(WRITE ${OUT}/hrnet/${place} "${text}")
  endif()
endforeach()
foreach(place IN LISTS old)  # a header that is no longer public
  file(REMOVE ${OUT}/hrnet/${place})
endforeach()
