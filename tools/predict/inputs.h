// The pictures and videos that predict is asked for, and the names of what it writes about them.
#pragma once
#include <string>
#include <vector>

#include "core/file.h"

namespace hr {

struct Input {
  std::string source;  // a file, camera:N or an address
  bool video = false;
  fs::path path() const { return source; }
};

// What is named outright, and pictures and videos inside named folders in alphabetical order; each once. `left_out`:
// files of other kinds in those folders.
std::vector<Input> list_inputs(const std::vector<std::string>& named, std::vector<fs::path>& left_out);

// A name for each input that no other one has: its own without the ending where that is enough, else with the ending
// and as many folders above it as it takes, joined by underscores.
std::vector<std::string> output_names(const std::vector<Input>& inputs);

// "a.heic, b.txt and 5 more"
std::string first_names(const std::vector<fs::path>& paths);

}  // namespace hr
