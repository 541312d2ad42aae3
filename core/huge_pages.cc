#include "core/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace hr {
namespace {

constexpr size_t kHuge = size_t{2} << 20;

}  // namespace

void* allocate_on_huge_pages(size_t bytes) noexcept {
  constexpr size_t kLine = 64;
  const size_t align = bytes >= 2 * kHuge ? kHuge : kLine;
  // The size is not rounded up to whole huge pages: the rest of the block stays on small ones.
  void* const block = std::aligned_alloc(align, (bytes + kLine - 1) / kLine * kLine);
#ifdef MADV_HUGEPAGE
  // A failure means that there are no huge pages, and the small ones serve as well.
  if (block != nullptr && align == kHuge) static_cast<void>(::madvise(block, bytes / kHuge * kHuge, MADV_HUGEPAGE));
#endif
  return block;
}

void expect_small_blocks([[maybe_unused]] size_t bytes) noexcept {
#if defined(__GLIBC__) && defined(MADV_HUGEPAGE)
  constexpr size_t kMost = size_t{1} << 30;  // More is left to malloc, whose settings are of type int.
  bytes = std::min(bytes, kMost);
  // The heap grows by this much when it is full. A block below the second limit comes from the heap, so that the block
  // that is taken here makes the heap grow now.
  if (mallopt(M_TOP_PAD, static_cast<int>(bytes)) == 0 || mallopt(M_MMAP_THRESHOLD, kHuge) == 0) return;
  void* const block = std::malloc(kHuge / 2);
  if (block == nullptr) return;
  const auto first = (reinterpret_cast<uintptr_t>(block) + kHuge - 1) / kHuge * kHuge;
  const auto last = (reinterpret_cast<uintptr_t>(block) + bytes) / kHuge * kHuge;
  // A failure means that there are no huge pages, and the small ones serve as well.
  if (first < last) static_cast<void>(::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE));
  std::free(block);
#endif
}

}  // namespace hr
