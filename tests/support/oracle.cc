#include "tests/support/oracle.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>

namespace hr::test {
namespace fs = std::filesystem;

fs::path oracle(const std::string& relative) {
  const char* set = std::getenv("HR_ORACLE");
  const fs::path root = set != nullptr ? fs::path(set) : fs::path(HR_SOURCE_DIR) / ".." / "shared" / "oracle";
  return root / relative;
}

fs::path source_folder() { return HR_SOURCE_DIR; }

fs::path temporary_folder() {
  struct Folder {
    fs::path path;
    ~Folder() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  };
  static Folder root{fs::temp_directory_path() / ("hr_test_" + std::to_string(::getpid()))};
  static std::atomic<int> serial{0};
  fs::path folder = root.path / std::to_string(serial++);
  fs::create_directories(folder);
  return folder;
}

}  // namespace hr::test
