// PCKh, the measure of MPII (Andriluka et al. 2014), with the habits of the official repository: the share of visible
// joints that lie within half a head size of the truth.
#pragma once
#include <array>
#include <span>
#include <string>
#include <vector>

#include "data/formats/mpii.h"

namespace hr {

inline constexpr int kPckhColumns = 9;

struct PckhResult {
  // In percent: Head, Shoulder, Elbow, Wrist, Hip, Knee, Ankle, Mean, Mean@0.1. A joint that is not visible on any
  // person is NaN and left out of the means (the reference's means become NaN then).
  std::array<double, kPckhColumns> table{};
  std::vector<double> joints;      // In percent per joint at threshold 0.5.
  std::vector<double> counts;      // The number of people on whom the joint is visible.
  std::array<double, 51> curve{};  // The Mean at thresholds 0, 0.01, ..., 0.5.
};

std::array<const char*, kPckhColumns> pckh_columns();

// poses: [people, joints, 2] in pixels counted from 0; 1 is added in float32, as in the reference.
//   head size = 0.6 |corner 2 - corner 1|,   hit if |pose + 1 - truth| / head size <= threshold
//   Mean: joints weighted by how often they are visible; joints 6 and 7 (pelvis, thorax) left out
//   Mean@0.1: measured at threshold 0.11, as in the reference, which takes entry 11 of 0, 0.01, ...
// Throws Error for another number of people or joints, a missing joint that the columns need, and poses that are not
// finite.
PckhResult evaluate_pckh(const MpiiTruth& truth, std::span<const float> poses);

// Returns the columns with three decimals, as the official program prints them: header, rule and row, without a newline
// at the end.
std::string pckh_markdown(const std::string& architecture, const PckhResult& result);

}  // namespace hr
