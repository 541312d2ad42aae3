// Makes the context in which a network runs: device, memory, streams and the libraries for convolutions.
#pragma once
#include <string>

#include "core/context.h"

namespace hr {

struct ContextOptions {
  std::string device = "cpu";  // cpu, cuda or cuda:N.
  bool amp = false;            // bf16 activations; weights, statistics and moments stay float32.
  int threads = 0;             // Compute threads of the whole process; 0 keeps their number, at first one per core.
  // On the CPU, keep each compute thread on one core (pin_compute_threads()). That is for training, whose loops end at
  // barriers. Recorded loops (core/loop_graph.h) move their threads themselves.
  bool pin_threads = false;
  bool tf32 = false;           // On a GPU, let float32 convolutions round their inputs to TF32.
  bool exact = false;          // On the CPU, sum float32 convolutions directly, never by Winograd's method.
  Context::Listener listener;  // Receives the remarks of the ops; may be empty.
};

// Throws Error if there is no such device, no driver or one that is too old, if this build has no code for the GPU, if
// `amp` is set and the GPU has no bf16, or if cuDNN is missing. It never returns another device or precision than asked
// for.
Context make_context(const ContextOptions& options);

}  // namespace hr
