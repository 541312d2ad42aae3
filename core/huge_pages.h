// Memory of the host for large arrays. With pages of 4 KiB, an array of some megabytes has more pages than a processor
// knows the addresses of (its TLB), and hardware prefetch ends at the end of each page. Both slow down loops that read
// many distant rows, Winograd's transforms above all (docs/measured/cpu.md).
#pragma once
#include <cstddef>

namespace hr {

// Returns at least `bytes` bytes that are aligned to 64 bytes and not initialised, or null if there is no memory. The
// block is given back by std::free(). A block of 4 MiB or more begins at a multiple of 2 MiB, and the system is asked
// to use pages of 2 MiB for it. If the system has none, or does not allow them, the pages are of the usual size.
// Thread-safe.
void* allocate_on_huge_pages(size_t bytes) noexcept;

}  // namespace hr
