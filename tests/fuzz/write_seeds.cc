// write_seeds FOLDER: the seeds as files, in FOLDER/pth_zip, FOLDER/pth_legacy and FOLDER/safetensors.
#include <cstdio>

#include "core/file.h"
#include "tests/fuzz/seeds.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_seeds FOLDER\n");
    return 2;
  }
  const hr::test::Seeds seeds = hr::test::make_seeds();
  const auto write = [&](const char* kind, const std::map<std::string, std::string>& files) {
    const hr::fs::path folder = hr::fs::path(argv[1]) / kind;
    hr::fs::create_directories(folder);
    for (const auto& [name, bytes] : files) hr::write_file(folder / ("seed_" + name), bytes);
  };
  write("pth_zip", seeds.zip);
  write("pth_legacy", seeds.legacy);
  write("safetensors", seeds.safetensors);
}
