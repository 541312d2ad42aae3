// What a loader makes for the device that takes its batches.
#pragma once
#include <memory>

#include "core/device.h"
#include "data/loader.h"

namespace hr {

// Where batches for a device lie: in pinned memory, which a GPU reads by itself; null, the heap, for the CPU.
std::shared_ptr<Allocator> batch_memory(const Device& device);
// What a loader makes for a device, and where: a GPU makes images and targets by itself; for the CPU the workers do.
LoaderOptions loader_for(const Device& device, LoaderOptions options);

}  // namespace hr
