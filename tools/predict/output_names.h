// Names for the files that predict writes.
#pragma once
#include <string>
#include <vector>

#include "data/formats/find_pictures.h"

namespace hr {

using Input = NamedInput;

// A name for each input that no other one has: its own without the ending where that is enough, else with the ending
// and as many folders above it as it takes, joined by underscores.
std::vector<std::string> output_names(const std::vector<Input>& inputs);

}  // namespace hr
