// What the program convert does with --calibrate.
#pragma once
#include "nn/weights.h"
#include "tools/programs/convert.h"

namespace hr {

// Writes 8-bit weights of the pose network in `file` and prints what was done. Throws Error as quantise_file does.
void convert_to_int8(const ConvertOptions& options, const WeightFile& file);

}  // namespace hr
