// The warp-wide instructions that the convolution kernels of ops/conv/tile_conv_kernels.cuh use: loads of 8x8 matrices
// from shared memory, bf16 matrix products, and asynchronous copies into shared memory. They need sm_80 or newer. On
// the host they are only declared. tests/ops/tile_conv_test.cc defines them for 32 simulated lanes, from the tables of
// the PTX manual (sections ldmatrix, mma.m16n8k16, cp.async), so that the indexing of the kernels is tested without a
// GPU.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define HR_DEVICE __device__ __forceinline__
#define HR_UNROLL_1 _Pragma("unroll 1")
// Shared memory whose size is given at the launch.
#define HR_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#else
#define HR_DEVICE inline
#define HR_UNROLL_1
#define HR_DYNAMIC_SHARED(name) unsigned char* name = dynamic_shared_memory()
#endif

namespace hr::gpu {

#ifdef __CUDACC__

// ldmatrix.x4 loads four 8x8 matrices of bf16. Lane l passes the address of the 16 bytes of row l % 8 of matrix l / 8,
// and receives in r[m] the elements (l / 4, 2 (l % 4)) and its right neighbour of matrix m.
HR_DEVICE void load_matrices(uint32_t (&r)[4], const void* row) {
#ifdef __CUDA_ARCH__
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#endif
}

// The same for the transposed matrices: lane l receives the elements (2 (l % 4), l / 4) and the one below.
HR_DEVICE void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
#ifdef __CUDA_ARCH__
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#endif
}

// mma.m16n8k16 computes d [16, 8] += a [16, 16] b [16, 8], with a and b in bf16 and d in float32. Lane l holds the
// elements (l / 4, 2 (l % 4)) of d and its right neighbour, and both again 8 rows below.
HR_DEVICE void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#ifdef __CUDA_ARCH__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Starts a copy of 16 bytes into shared memory. If `valid` is false, zeros are written and nothing is read.
HR_DEVICE void copy_16(void* shared, const void* global, bool valid) {
#ifdef __CUDA_ARCH__
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
#endif
}

// The same with 4 bytes.
HR_DEVICE void copy_4(void* shared, const void* global, bool valid) {
#ifdef __CUDA_ARCH__
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(global), "r"(valid ? 4 : 0)
               : "memory");
#endif
}

// Ends a group of copies that this thread has started.
HR_DEVICE void end_copy_group() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until all but the last `Pending` groups of this thread have arrived.
template <int Pending>
HR_DEVICE void wait_for_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

// Returns the number that lane (own lane ^ mask) passes.
HR_DEVICE float exchange(float own, int mask) {
#ifdef __CUDA_ARCH__
  return __shfl_xor_sync(0xffffffffu, own, mask);
#else
  return mask == 0 ? own : 0;  // nvcc's host compilation does not run kernels.
#endif
}

// Waits for all lanes of the warp, whose earlier writes to shared memory are then visible to it.
HR_DEVICE void synchronize_warp() {
#ifdef __CUDA_ARCH__
  __syncwarp();
#endif
}

// Prefetches the cache line into the L2.
HR_DEVICE void prefetch(const void* global) {
#ifdef __CUDA_ARCH__
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
#endif
}

#else

inline void prefetch(const void*) {}
void load_matrices(uint32_t (&r)[4], const void* row);
void load_matrices_transposed(uint32_t (&r)[4], const void* row);
void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
void copy_16(void* shared, const void* global, bool valid);
void copy_4(void* shared, const void* global, bool valid);
void end_copy_group();
template <int Pending>
void wait_for_copies();
float exchange(float own, int mask);
void synchronize_warp();
unsigned char* dynamic_shared_memory();  // The dynamic shared memory of the block that is running.

#endif

}  // namespace hr::gpu
