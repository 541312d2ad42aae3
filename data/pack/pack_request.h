// Checks that a pack contains everything that a program needs.
#pragma once
#include <string>

#include "data/pack/pack.h"

namespace hr {

// Throws Error with both sides, beginning with `where`, if the options need more than was packed.
void check_pack_request(const PackLimits& limits, const DatasetOptions& options, const std::string& where);

}  // namespace hr
