// bench --mode loader: samples per second from JPEGs, from the cache and from a pack, by stage; and JPEG decoding by
// stb_image, libjpeg-turbo whole and libjpeg-turbo by region, in the same run.
#pragma once
#include <array>
#include <string>

namespace hr {

struct BenchLoaderOptions {
  std::string data_path, annotations,
      images;  // empty: pictures made for the purpose, of COCO's size in pixels and bytes
  std::array<int, 2> fixed_size{256, 192};
  int batch_size = 32, repeats = 7, threads = 0;
  bool json = false;
};
void bench_loader(const BenchLoaderOptions& options);

}  // namespace hr
