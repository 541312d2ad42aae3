// Golden data are outside the repository, and a user's clone has none. HR_ORACLE names the folder; the default is
// ../shared/oracle beside the checkout. Tests that need them report that they are skipped.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace hr::test {

std::filesystem::path oracle(const std::string& relative);  // full path, whether it exists or not
std::filesystem::path source_folder();                      // the root of the checkout that was built
std::filesystem::path temporary_folder();                   // a fresh empty folder for this test, removed at exit

}  // namespace hr::test

// The first line of a test that reads golden data.
#define HR_NEEDS_ORACLE(relative)                                                                           \
  if (!std::filesystem::exists(hr::test::oracle(relative))) {                                               \
    GTEST_SKIP() << "golden data not found: " << hr::test::oracle(relative).string() << " (set HR_ORACLE)"; \
  }                                                                                                         \
  static_assert(true)
