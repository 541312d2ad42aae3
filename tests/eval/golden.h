// Golden heatmaps are stored as [n, joints, h, w]; ours are [n, h, w, joints].
#pragma once
#include <vector>

#include "core/io/safetensors.h"
#include "eval/decode.h"

namespace hr::test {

struct OwnedMaps {
  std::vector<float> data;
  int n = 0, h = 0, w = 0, joints = 0;
  Heatmaps view() const { return {data.data(), n, h, w, joints}; }
};

inline OwnedMaps joints_last(const ArrayView& stored) {
  const std::vector<float> from = stored.to_f32();
  OwnedMaps maps;
  maps.n = static_cast<int>(stored.shape.at(0));
  maps.joints = static_cast<int>(stored.shape.at(1));
  maps.h = static_cast<int>(stored.shape.at(2));
  maps.w = static_cast<int>(stored.shape.at(3));
  maps.data.resize(from.size());
  size_t i = 0;
  for (int n = 0; n < maps.n; ++n) {
    for (int k = 0; k < maps.joints; ++k) {
      for (int p = 0; p < maps.h * maps.w; ++p) {
        maps.data[(static_cast<size_t>(n) * maps.h * maps.w + p) * maps.joints + k] = from[i++];
      }
    }
  }
  return maps;
}

}  // namespace hr::test
