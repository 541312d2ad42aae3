#include "core/launch_order.h"

#include <mutex>
#include <unordered_set>

namespace hr::cuda {
namespace {

struct Streams {
  std::mutex mutex;
  std::unordered_set<const void*> with_kernel;
};
Streams& streams() {
  static auto* all = new Streams;  // Outlives everything that frees streams at exit.
  return *all;
}

}  // namespace

bool ends_with_kernel(Stream stream) {
  const std::lock_guard lock(streams().mutex);
  return streams().with_kernel.contains(stream);
}

void note_kernel(Stream stream) {
  const std::lock_guard lock(streams().mutex);
  streams().with_kernel.insert(stream);
}

void note_other_work(Stream stream) noexcept {
  const std::lock_guard lock(streams().mutex);
  streams().with_kernel.erase(stream);
}

}  // namespace hr::cuda
