// Helpers with which the evaluators of keypoints and of boxes select entries by id and by area.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace hr {

inline std::vector<int64_t> sorted_unique(std::vector<int64_t> ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

// The range [low, high] of an area. A NaN lies inside every range, because only "outside" is tested.
inline bool outside(double area, const std::array<double, 2>& range) { return area < range[0] || area > range[1]; }

}  // namespace hr
