// Finds the pictures and videos that a user names on a command line.
#pragma once
#include <string>
#include <vector>

#include "core/file.h"

namespace hr {

struct FoundPictures {
  std::vector<fs::path> pictures;  // Each once.
  std::vector<fs::path> left_out;  // Files of other kinds in the folders.
};

// Finds the pictures that are named, and those inside the folders that are named, in alphabetical order. A file that is
// named counts as a picture whatever its ending. Inside folders the endings .jpg, .jpeg, .png, .bmp, .gif, .ppm, .pgm
// and .pnm do, and hidden files and those of file managers (._photo.jpg, Thumbs.db) are ignored. Throws Error if a path
// does not exist or if a folder has no pictures.
FoundPictures find_pictures(const std::vector<std::string>& paths);

struct NamedInput {
  std::string source;  // A file; if it is a video, also camera:N or an address (data/video/video_reader.h).
  bool video = false;
  fs::path path() const { return source; }
};
struct FoundInputs {
  std::vector<NamedInput> inputs;  // Each once.
  std::vector<fs::path> left_out;  // Files of other kinds in the folders.
};

// The same for pictures and videos. The ending of a file that is named decides which of the two it is, and for other
// endings its first bytes do.
FoundInputs find_inputs(const std::vector<std::string>& paths);

// Names the first files of a list: "a.heic, b.txt, c.txt and 5 more".
std::string some_names(const std::vector<fs::path>& paths);

}  // namespace hr
