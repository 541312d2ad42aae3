#include "core/huge_pages.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/support/child.h"
#include "tests/support/smaps.h"

namespace hr {
namespace {

// The flag "hg" says that the system was asked for huge pages.
bool asked_for_huge_pages(const void* address) {
  return test::smaps_field(address, "VmFlags:").find(" hg") != std::string::npos;
}

// In a process of its own, because it changes malloc's settings.
TEST(HugePages, SmallBlocksThatWereExpectedLieOnThem) {
#ifndef __GLIBC__
  GTEST_SKIP() << "this C library has no such settings";
#endif
#ifdef HR_SHADOWED_MEMORY
  GTEST_SKIP() << "the sanitizer has a malloc of its own";
#endif
  if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage/enabled")) {
    GTEST_SKIP() << "this system has no huge pages";
  }
  const auto share = [](size_t expected) {
    if (expected > 0) expect_small_blocks(expected);
    constexpr int kBlocks = 1 << 16;
    int inside = 0;
    for (int i = 0; i < kBlocks; ++i) {
      const void* const block = std::malloc(500);
      inside += i % 1024 == 0 && asked_for_huge_pages(block) ? 1 : 0;
    }
    return inside;
  };
  // 33 MB of blocks. Up to 2 MiB at the beginning stay on small pages, and what the heap had before.
  EXPECT_EXIT(std::exit(share(size_t{48} << 20) > 50 ? 0 : 1), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(std::exit(share(0) == 0 ? 0 : 1), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace hr
