// Measures how long loading weights takes, compared with copying the same bytes once.
#pragma once
#include <string>

namespace hr {

struct LoadBenchOptions {
  std::string model = "hrnet_w32", weights;  // weights empty: files of `model` are made in the temporary folder
  int repeats = 7, warmup = 3, threads = 0;
  bool json = false;
};

// Measures, from page cache: opening the file, checking every name and shape, and permuting every tensor into an
// existing model. This is compared with one memcpy of the whole mapped file into memory that is mapped already. The two
// take turns; the ratio is the median of the ratios of each turn.
void bench_load(const LoadBenchOptions& options);

}  // namespace hr
