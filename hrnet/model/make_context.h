// A context for a device, as networks want it: memory, streams and the libraries for convolutions.
#pragma once
#include <string>

#include "core/context.h"

namespace hr {

struct ContextOptions {
  std::string device = "cpu";  // cpu, cuda or cuda:N
  bool amp = false;            // bf16 activations; weights, statistics and moments stay float32
  int threads = 0;             // to compute with, of the whole process; 0 leaves their number as it is: every core
  bool pin_threads = true;     // on the CPU: each compute thread stays on one core; false where they are the caller's
  bool tf32 = false;           // on a GPU: float32 convolutions may round their inputs to TF32
  bool exact = false;          // on the CPU: float32 convolutions are summed directly, never by Winograd's method
  Context::Listener listener;  // gets what the ops remark on; empty: nobody
};

// Throws Error if there is no such device, no driver or one too old, if this build has no code for the GPU, if `amp` is
// asked of a GPU without bf16, and if cuDNN is missing. It never returns another device or precision than asked for.
Context make_context(const ContextOptions& options);

}  // namespace hr
