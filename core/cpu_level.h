// Chooses the vector instructions of the time-critical loops. A build for this machine (HR_NATIVE) chooses at compile
// time. A portable build contains three versions of each loop and chooses at run time.
#pragma once

namespace hr {

// The levels of the x86-64 psABI: v2 has SSE 4.2, v3 AVX2 and FMA, v4 AVX-512.
enum class CpuLevel { v2 = 2, v3, v4 };

// Returns the level of the processor, or that of the environment variable HRNET_CPU (v2, v3 or v4) if it is lower. It
// is decided at the first call. Results of levels with FMA differ in the last bits from v2, which rounds each product.
CpuLevel cpu_level();

#ifdef HR_CPU_DISPATCH
namespace detail {
// `flatten` inlines everything that the body calls, so that it is compiled with these instructions. No other function
// may use them: the linker keeps only one copy of an inline function, and that copy must run on older processors too.
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

// Calls body(), compiled with the instructions of cpu_level().
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
