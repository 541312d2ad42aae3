// Reads from a file where the people in the pictures are (--boxes).
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "hrnet/infer/pose_estimator.h"

namespace hr {

// Boxes holds what is known about the pictures and the people in them.
struct Boxes {
  struct Picture {
    int64_t id = 0;
    // This is the picture's name in the file that gave the id.
    std::string file_name;
    int width = 0, height = 0;  // The size in pixels is 0 if the file does not state it.
    // Without a value the whole picture is treated as one person.
    std::optional<std::vector<People::Person>> people;
  };
  std::vector<Picture> pictures;  // There is one entry for each picture on the command line.
};

// Reads the boxes of `pictures` from the file `path`. With an empty path the whole of every picture is one person.
// Throws Error if the file cannot be used or has no box for any picture.
Boxes read_boxes(const std::string& path, const std::vector<fs::path>& pictures);

}  // namespace hr
