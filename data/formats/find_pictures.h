// Finds the pictures and videos that a user names on a command line.
#pragma once
#include <string>
#include <vector>

#include "core/file.h"

namespace hr {

struct FoundPictures {
  std::vector<fs::path> pictures;  // Each picture is listed once.
  std::vector<fs::path> left_out;  // These are files of other kinds inside the folders.
};

// Finds the named pictures, and in alphabetical order those inside the named folders. A named file counts as a picture
// whatever its extension is. Inside folders only files with the extensions .jpg, .jpeg, .png, .bmp, .gif, .ppm, .pgm
// and .pnm count as pictures; hidden files and those of file managers (._photo.jpg, Thumbs.db) are ignored. Throws
// Error if a path does not exist or if a folder has no pictures.
FoundPictures find_pictures(const std::vector<std::string>& paths);

struct NamedInput {
  // The source is a file; a video may also be camera:N or an address (data/video/video_reader.h).
  std::string source;
  bool video = false;
  fs::path path() const { return source; }
};
struct FoundInputs {
  std::vector<NamedInput> inputs;  // Each input is listed once.
  std::vector<fs::path> left_out;  // These are files of other kinds inside the folders.
};

// Finds pictures and videos in the same way. The extension of a named file decides which of the two it is; if the
// extension is neither, the first bytes of the file decide. Throws Error as find_pictures() does.
FoundInputs find_inputs(const std::vector<std::string>& paths);

// Lists the first names and counts the others: "a.heic, b.txt, c.txt and 5 more".
std::string some_names(const std::vector<fs::path>& paths);

}  // namespace hr
