// A context that an object of the library makes for itself.
#pragma once
#include <string>

#include "core/context.h"

namespace hr {

// Unlike a program's, it does not pin the compute threads: they are the caller's. Throws Error if there is no such
// device, or bf16 or TF32 is asked of a device without it.
Context device_context(const std::string& device, bool bf16, bool tf32);

}  // namespace hr
