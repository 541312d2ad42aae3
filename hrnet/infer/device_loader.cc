#include "hrnet/infer/device_loader.h"

#include <utility>

namespace hr {

std::shared_ptr<Allocator> batch_memory(const Device& device) {
  return device.is_cuda() ? std::make_shared<CachingAllocator>(CachingAllocator::pinned(device.index)) : nullptr;
}

LoaderOptions loader_for(const Device& device, LoaderOptions options) {
  if (!device.is_cuda()) return options;
  options.sources = std::exchange(options.images, false);
  options.profiles = std::exchange(options.targets, false);
  options.allocator = batch_memory(device);
  return options;
}

}  // namespace hr
