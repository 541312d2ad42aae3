#include "core/cpu_level.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace hr {
namespace {

CpuLevel find_level() {
#if defined(__x86_64__)
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  const CpuLevel has = v4 ? CpuLevel::v4 : v3 ? CpuLevel::v3 : CpuLevel::v2;
#else
  const CpuLevel has = CpuLevel::v2;
#endif
  const char* asked = std::getenv("HRNET_CPU");
  const std::string_view name = asked == nullptr ? "" : asked;
  const CpuLevel most = name == "v2" ? CpuLevel::v2 : name == "v3" ? CpuLevel::v3 : CpuLevel::v4;
  return std::min(has, most);
}

}  // namespace

CpuLevel cpu_level() {
  static const CpuLevel level = find_level();
  return level;
}

}  // namespace hr
