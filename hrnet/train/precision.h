// Settles in which precision a program computes.
#pragma once
#include <functional>
#include <string>

#include "hrnet/model/model_options.h"

namespace hr {

// Describes the work for which settle_precision() chooses the precision.
struct PrecisionWork {
  bool training = false;
  std::string model = "hrnet_w32";  // The network if the options name none and there is no weight file.
  int h = 256, w = 192;             // The input in pixels. A detector is measured at the size of its weights.
  int ranks = 1;                    // Ranks that compute together.
};

// Turns ModelOptions::precision into `amp` and empties it. The weights are those of a pose network or of a detector:
//   empty  `amp` stays.
//   f32    float32; the weights must not have 8 bits.
//   bf16   the same as `amp`.
//   int8   8-bit integers: for inference only, and the weights must have 8 bits (hrnet/int8/file.h).
//   auto   with 8-bit weights int8; on a GPU bf16 if it has it; on a CPU what a measurement of a few steps shows to be
//          faster, float32 or bf16. The measurement is made once for each processor, network, size and number of
//          threads, and remembered beside the plans of convolutions. `remark` is told what was chosen and why.
// Throws Error with the field `precision` if the setting contradicts `amp`, the weights or the work, and for `auto` on
// the CPU with several ranks, which might choose differently.
void settle_precision(ModelOptions& options, const PrecisionWork& work,
                      const std::function<void(const std::string& text)>& remark);

}  // namespace hr
