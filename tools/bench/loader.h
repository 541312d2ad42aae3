// bench --mode loader: samples per second from JPEGs, from the cache and from a pack, by stage; and JPEG decoding by
// stb_image, by libjpeg-turbo for whole pictures and by libjpeg-turbo for regions, in the same run.
#pragma once
#include <array>
#include <string>

namespace hr {

struct BenchLoaderOptions {
  std::string data_path, annotations,
      images;  // empty: generated pictures with COCO's size in pixels and bytes
  std::array<int, 2> fixed_size{256, 192};
  int batch_size = 32, repeats = 7, threads = 0;
  bool json = false;
};
void bench_loader(const BenchLoaderOptions& options);

}  // namespace hr
