// The part of the program convert that writes ONNX files.
#pragma once
#include "nn/weights.h"
#include "tools/programs/convert.h"

namespace hr {

// Exports the network of `file` and prints its size, its inputs and outputs, and the result of the check. Throws Error
// as export_onnx does.
void convert_to_onnx(const ConvertOptions& options, const WeightFile& file);

}  // namespace hr
