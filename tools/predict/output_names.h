// Chooses names for the files that predict writes.
#pragma once
#include <string>
#include <vector>

#include "data/formats/find_pictures.h"

namespace hr {

using Input = NamedInput;

// Returns a unique name for each input. It is the input's own name without the extension where that is unique.
// Otherwise the extension and as many parent folders as needed are added, joined by underscores.
std::vector<std::string> output_names(const std::vector<Input>& inputs);

}  // namespace hr
