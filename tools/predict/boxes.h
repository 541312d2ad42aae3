// Where people are in pictures, as a file tells it (--boxes).
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "hrnet/infer/pose_estimator.h"

namespace hr {

// What is known about the pictures and the people in them.
struct Boxes {
  struct Picture {
    int64_t id = 0;
    std::string file_name;                              // as the file that gave the id has it
    int width = 0, height = 0;                          // 0: not said
    std::optional<std::vector<People::Person>> people;  // nullopt: the whole picture is one
  };
  std::vector<Picture> pictures;  // one for each picture on the command line
};

// Without a path every picture is one person. Throws Error if the file cannot be used or has no box for any picture.
Boxes read_boxes(const std::string& path, const std::vector<fs::path>& pictures);

}  // namespace hr
