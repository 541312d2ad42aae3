// Which of a processor's vector instructions the hot loops use. A build for this machine (HR_NATIVE) knows when it is
// compiled; a portable one holds each loop three times and chooses when it runs.
#pragma once

namespace hr {

// The levels of the x86-64 psABI: v2 has SSE 4.2, v3 AVX2 and FMA, v4 AVX-512.
enum class CpuLevel { v2 = 2, v3, v4 };

// The processor's, or the one that the environment variable HRNET_CPU (v2, v3 or v4) names if that is lower. Decided at
// the first call. Levels with FMA give other last bits than v2, whose products are rounded before they are added.
CpuLevel cpu_level();

#ifdef HR_CPU_DISPATCH
namespace detail {
// flatten: all that the body calls is inlined into these two functions and compiled with their instructions. No other
// function may be: the linker keeps one copy of an inline function, and an older processor may be given that one.
template <class Body>
__attribute__((target("avx2,fma,f16c,bmi,bmi2,lzcnt,movbe"), flatten, noinline)) void call_at_v3(const Body& body) {
  body();
}
template <class Body>
__attribute__((target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2,lzcnt,movbe"), flatten,
               noinline)) void
call_at_v4(const Body& body) {
  body();
}
}  // namespace detail

// body() with the instructions of cpu_level().
template <class Body>
void at_cpu_level(const Body& body) {
  switch (cpu_level()) {
    case CpuLevel::v4:
      return detail::call_at_v4(body);
    case CpuLevel::v3:
      return detail::call_at_v3(body);
    default:
      return body();
  }
}
#else
template <class Body>
inline __attribute__((always_inline)) void at_cpu_level(const Body& body) {
  body();
}
#endif

}  // namespace hr
