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

// Makes room for the small blocks of `bytes` bytes in all that malloc and new will give out next, and asks the system
// to use pages of 2 MiB for it. It is for a program that is about to read a large file into many small blocks, in which
// the system would otherwise be asked for every 4 KiB: coco_eval is 15 % faster with it. The room takes memory only as
// far as it is used. It changes the settings of the C library's malloc for the whole process, so the library itself
// does not call it. Does nothing with a C library other than glibc. Call it before other threads are started.
void expect_small_blocks(size_t bytes) noexcept;

}  // namespace hr
