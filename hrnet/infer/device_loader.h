// Chooses what a loader prepares for the device that takes its batches.
#pragma once
#include <memory>

#include "core/device.h"
#include "data/loader.h"

namespace hr {

// The allocator for batches: pinned memory for a GPU, which can then copy it without the processor; null (the heap) for
// the CPU.
std::shared_ptr<Allocator> batch_memory(const Device& device);
// Completes the options of a loader. A GPU makes images and targets itself, so the workers only prepare crop sources
// and profiles for it. For the CPU the workers make images and targets.
LoaderOptions loader_for(const Device& device, LoaderOptions options);

}  // namespace hr
