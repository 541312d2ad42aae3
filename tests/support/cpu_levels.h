// The instruction set levels at which loops are tested.
#pragma once
#include <vector>

#include "core/cpu_level.h"

namespace hr::test {

// Returns the levels that this processor has and that have loops of their own.
inline std::vector<CpuLevel> levels() {
  std::vector<CpuLevel> list;
  for (const CpuLevel level : {CpuLevel::v3, CpuLevel::v4}) {
    if (level <= cpu_level()) list.push_back(level);
  }
  return list;
}

}  // namespace hr::test
