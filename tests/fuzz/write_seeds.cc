// write_seeds FOLDER: writes the seeds as files, in a folder for each target: FOLDER/pth_zip, FOLDER/coco_json, ...
#include <cstdio>

#include "core/file.h"
#include "tests/fuzz/data_seeds.h"
#include "tests/fuzz/onnx_entry.h"
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
  write("onnx", hr::test::onnx_seeds());
  write("coco_json", hr::test::coco_seeds());
  write("result_json", hr::test::result_seeds());
  write("mpii_json", hr::test::mpii_seeds());
  write("skeleton_json", hr::test::skeleton_seeds());
  write("mat", hr::test::mat_seeds());
  write("picture", hr::test::picture_seeds());
  write("picture_zip", hr::test::picture_zip_seeds());
  write("pack", hr::test::pack_seeds());
}
