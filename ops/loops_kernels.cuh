// The loops of ops/for_each.h as CUDA kernels. Their numbers come from ops/launch.h. tests/ops/gpu_loops_test.cc
// compiles this file for the CPU, with a thread for a thread, so nothing here may need more of CUDA than the built-in
// variables, __shared__, __syncthreads() and atomicInc().
#pragma once
#include "ops/kernel.h"

namespace hr::gpu {
namespace detail {

// The value type of a thread: Floats<N>, or a float for one channel.
template <int N>
struct ValueOf {
  using type = Floats<N>;
};
template <>
struct ValueOf<1> {
  using type = float;
};

// A thread takes this many of its rows at once.
template <class F>
inline constexpr int kRowsAtOnce = rows_ahead<F> > 0 ? rows_ahead<F> : 1;

// Blocks of for_each per multiprocessor: 64 registers a thread, with the compiler's own choice of 40 some spill; 128
// where a thread keeps the coefficients of its channels and several rows.
template <class F>
inline constexpr int kResidentBlocks = HasColumn<F> ? 2 : 4;
// Of for_each in all.
template <class F>
inline constexpr int64_t kBlocksCap = rows_ahead<F> > 0 ? kResidentBlocks<F> * kProcessors : kGridCap;
// Blocks of a reduction per multiprocessor.
inline constexpr int kResidentReductions = 2;

// Calls use(one) for the rows row, row + stride, ... below `end`, kRowsAtOnce<F> at once: all reads before the first
// use. one(terms...) is the functor on a row.
template <class V, class F, class Column, class Use>
HR_HD void for_rows(const F& f, int64_t row, int64_t stride, int64_t end, int64_t c, const Column& column,
                    const Use& use_row) {
  if constexpr (rows_ahead<F> > 0) {
    constexpr int kRows = kRowsAtOnce<F>;
    for (; row < end; row += kRows * stride) {
      decltype(f.row(row)) at[kRows];
      decltype(f.template read<V>(at[0], c)) in[kRows];
      HR_UNROLL for (int u = 0; u < kRows; ++u) {
        if (row + u * stride < end) {
          at[u] = f.row(row + u * stride);
          in[u] = f.template read<V>(at[u], c);
        }
      }
      HR_UNROLL for (int u = 0; u < kRows; ++u) {
        if (row + u * stride < end) use_row([&](auto*... terms) { use<V>(f, at[u], c, in[u], column, terms...); });
      }
    }
  } else {
    for (; row < end; row += stride) {
      use_row([&](auto*... terms) { f.template one<V>(f.row(row), c, terms...); });
    }
  }
}

template <class F, int N>
__global__ void __launch_bounds__(kThreads, kResidentBlocks<F>) for_each_kernel(const F f, int64_t rows, int channels) {
  using V = typename ValueOf<N>::type;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.y;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  for (int c = static_cast<int>(threadIdx.x) * N; c < channels; c += static_cast<int>(blockDim.x) * N)
    for_rows<V>(f, first, stride, rows, c, column_of<V>(f, first, c), [](const auto& one) { one(); });
}

// One ticket for each group of channels of a reduction: how many of its blocks have written their sums. The last one
// merges them, and leaves the ticket at 0 for the next launch. A launch takes the tickets after those of the launch
// before it, round and round; that is right as long as launches that run at the same time are fewer than the tickets.
// Launches of one stream, and replays of graphs in one stream, never run at the same time.
constexpr uint32_t kTickets = 1 << 16;
static __device__ uint32_t tickets[kTickets];

// Orders what this thread knows of before it and after it, as seen from all of the device. __threadfence() would also
// put the fences of all threads in one order, which takes longer.
__device__ inline void fence() {
#ifdef __CUDA_ARCH__
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
#endif
}

// Whether all the other blocks of this block's group have been here before; what they wrote is then visible.
__device__ inline bool is_last_block(uint32_t first_ticket, int thread) {
  __shared__ bool last;
  __syncthreads();
  if (thread == 0) {
    fence();
    last = atomicInc(&tickets[(first_ticket + blockIdx.y) % kTickets], gridDim.x - 1) == gridDim.x - 1;
    if (last) fence();
  }
  __syncthreads();
  return last;
}

// Adds the states [strands][width] up pairwise, into those of strand 0. All threads of the block come here.
template <class State>
__device__ void add_strands(State* states, int strands, int width, int strand, int x) {
  for (int have = strands; have > 1;) {
    const int half = (have + 1) / 2;
    __syncthreads();
    if (strand < have - half) states[strand * width + x].add(states[(strand + half) * width + x]);
    have = half;
  }
}

// Adds the parts part, part + step, ... below `parts` to the state, kParts at a time while there are so many: their loads
// are under way at once.
template <int kParts, class Merge, class State>
__device__ void add_parts(const Merge& merge, int& part, int step, int parts, int c, State& state) {
  for (; part + (kParts - 1) * step < parts; part += kParts * step) {
    State some[kParts];
    HR_UNROLL for (int u = 0; u < kParts; ++u) some[u] = merge.part(part + u * step, c);
    HR_UNROLL for (int u = 0; u < kParts; ++u) state.add(some[u]);
  }
}

// Each thread sums every blockDim.y-th row of the block's runs; the strands of one channel group are then added
// pairwise. The last block of a group of channels merges the sums of all its blocks, in the same way. The order of all
// this depends on the shape alone.
template <class R, int N>
__global__ void __launch_bounds__(kThreads, kResidentReductions)
    reduce_rows_kernel(const R f, int64_t rows, int width, int channels, float* __restrict__ partial,
                       uint32_t first_ticket) {
  using V = typename ValueOf<N>::type;
  using F = decltype(f.rows);
  using State = typename decltype(f.merge)::State;
  constexpr int kSums = F::kSums;
  constexpr size_t kStrandBytes = sizeof(float) * kSums * N * kThreads, kStateBytes = sizeof(State) * kThreads;
  alignas(16) __shared__ unsigned char memory[kStrandBytes > kStateBytes ? kStrandBytes : kStateBytes];
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  const int first_channel = static_cast<int>(blockIdx.y) * width;
  const int end_channel = first_channel + width < channels ? first_channel + width : channels;
  {
    float* strands = reinterpret_cast<float*>(memory);
    const int c = first_channel + static_cast<int>(threadIdx.x) * N;
    const bool mine = c < end_channel;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.y;
    V sums[kSums];
    HR_UNROLL for (int s = 0; s < kSums; ++s) sums[s] = Lanes<V>::fill(0);
    const auto column = column_of<V>(f.rows, first, mine ? c : first_channel);
    if (mine) {
      for_rows<V>(f.rows, first + threadIdx.y, static_cast<int64_t>(gridDim.x) * blockDim.y, rows, c, column,
                  [&](const auto& one) {
                    V terms[kSums];
                    one(terms);
                    HR_UNROLL for (int s = 0; s < kSums; ++s) sums[s] += terms[s];
                  });
    }
    // [sum][lane][thread]: neighbouring threads on neighbouring banks.
    HR_UNROLL for (int s = 0; s < kSums; ++s) {
      HR_UNROLL for (int i = 0; i < N; ++i) strands[(s * N + i) * kThreads + thread] = lane(sums[s], i);
    }
    for (int have = static_cast<int>(blockDim.y); have > 1;) {
      const int half = (have + 1) / 2;
      __syncthreads();
      if (static_cast<int>(threadIdx.y) < have - half) {
        const int other = thread + half * static_cast<int>(blockDim.x);
        HR_UNROLL for (int i = 0; i < kSums * N; ++i) strands[i * kThreads + thread] += strands[i * kThreads + other];
      }
      have = half;
    }
    if (threadIdx.y == 0 && mine) {
      float* out = partial + static_cast<int64_t>(blockIdx.x) * partial_rows<F> * channels + c;
      HR_UNROLL for (int s = 0; s < kSums; ++s) {
        V total;
        HR_UNROLL for (int i = 0; i < N; ++i) set_lane(total, i, strands[(s * N + i) * kThreads + thread]);
        store<V>(out + s * channels, total);
      }
      if constexpr (KeepsRow<F>) store<V>(out + kSums * channels, f.rows.kept(column));
    }
  }
  if (!is_last_block(first_ticket, thread)) return;

  const int count = end_channel - first_channel, parts = static_cast<int>(gridDim.x);
  const int threads = static_cast<int>(blockDim.x * blockDim.y), strands = threads / count;
  const int strand = thread / count, x = thread - strand * count;
  State* states = reinterpret_cast<State*>(memory);
  if (strand < strands) {
    State state;
    int part = strand;
    add_parts<16>(f.merge, part, strands, parts, first_channel + x, state);
    add_parts<4>(f.merge, part, strands, parts, first_channel + x, state);
    add_parts<1>(f.merge, part, strands, parts, first_channel + x, state);
    states[strand * count + x] = state;
  }
  add_strands(states, strands, count, strand, x);
  if (strand == 0) f.merge.finish(first_channel + x, states[x]);
}

template <class F>
__global__ void __launch_bounds__(kColumnThreads* kColumnStrands)
    for_columns_kernel(const F f, int64_t parts, int channels) {
  using State = typename F::State;
  alignas(State) __shared__ unsigned char memory[sizeof(State) * kColumnThreads * kColumnStrands];
  State* states = reinterpret_cast<State*>(memory);
  const int c = static_cast<int>(blockIdx.x) * kColumnThreads + static_cast<int>(threadIdx.x);
  const int y = static_cast<int>(threadIdx.y), strands = static_cast<int>(blockDim.y);
  State& mine = states[y * kColumnThreads + static_cast<int>(threadIdx.x)];
  // A strand takes a run of neighbouring parts; then neighbouring strands are added pairwise. Strands without parts are
  // the last ones.
  const int64_t run = (parts + strands - 1) / strands;
  const int64_t begin = y * run, end = begin + run < parts ? begin + run : parts;
  if (c < channels && begin < end) {
    State state = f.part(begin, c);
    HR_UNROLL_4 for (int64_t b = begin + 1; b < end; ++b) state.add(f.part(b, c));
    mine = state;
  }
  for (int step = 1; step < strands; step *= 2) {
    __syncthreads();
    if (c < channels && y % (2 * step) == 0 && (y + step) * run < parts)
      mine.add(states[(y + step) * kColumnThreads + static_cast<int>(threadIdx.x)]);
  }
  if (y == 0 && c < channels) f.finish(c, mine);
}

template <class F, int N>
__global__ void __launch_bounds__(kThreads) for_each_flat_kernel(const F f, int64_t n) {
  using V = typename ValueOf<N>::type;
  const int64_t vectors = n / N, work = vectors + n % N;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < work; i += stride) {
    if (i < vectors) {
      f.template one<V>(i * N);
    } else {
      f.template one<float>(vectors * N + (i - vectors));
    }
  }
}

}  // namespace detail
}  // namespace hr::gpu
