#include "core/huge_pages.h"

#include <sys/mman.h>

#include <cstdlib>

namespace hr {

void* allocate_on_huge_pages(size_t bytes) noexcept {
  constexpr size_t kLine = 64, kHuge = size_t{2} << 20;
  const size_t align = bytes >= 2 * kHuge ? kHuge : kLine;
  // The size is not rounded up to whole huge pages: the rest of the block stays on small ones.
  void* const block = std::aligned_alloc(align, (bytes + kLine - 1) / kLine * kLine);
#ifdef MADV_HUGEPAGE
  // A failure means that there are no huge pages, and the small ones serve as well.
  if (block != nullptr && align == kHuge) static_cast<void>(::madvise(block, bytes / kHuge * kHuge, MADV_HUGEPAGE));
#endif
  return block;
}

}  // namespace hr
