// The loops under every hand-written op. A kernel is a functor on (row, channel); these run it on the context's device.
// On the CPU rows are cut into fixed blocks for the threads and channels into vectors (ops/lanes.h); on a GPU a thread
// takes the channels of one 16-byte access (ops/for_each.cuh).
//
// A functor has row(r), which does the index arithmetic of row r once, one<V>(at, c), which computes the channels from
// c on that a V holds, and Element, the type whose size decides how many channels an access holds. Functors that a GPU
// shall run are listed at the end of the op's <op>_kernel.h.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "core/context.h"
#include "core/cpu_level.h"
#include "core/loop_graph.h"
#include "core/parallel.h"
#include "ops/gpu_loops.h"
#include "ops/kernel.h"

namespace hr {

// Reports a running kernel to the context's profile, if there is one, while this object exists.
class Profiled {
 public:
  Profiled(const Context& cx, std::string_view kind, double bytes, double operations = 0) : cx_(cx) {
    if (cx_.profile != nullptr) cx_.profile->begin(kind, bytes, operations, cx_.stream);
  }
  ~Profiled() {
    if (cx_.profile != nullptr) cx_.profile->end(cx_.stream);
  }
  Profiled(const Profiled&) = delete;
  Profiled& operator=(const Profiled&) = delete;

 private:
  const Context& cx_;
};

inline ByteRange bytes_of(const Tensor& t) { return {static_cast<const std::byte*>(t.raw()), t.bytes()}; }

// While this object exists, the recorded loops of an op are known to read and write only these tensors. Without it they
// run apart from all others. Constant weights are left out.
class Operands {
 public:
  Operands(const Context& cx, std::initializer_list<const Tensor*> reads, const Tensor& y) : recorder_(cx.loops) {
    if (recorder_ == nullptr) return;
    LoopOperands operands{.writes = {bytes_of(y)}};
    for (const Tensor* x : reads) operands.reads.push_back(bytes_of(*x));
    recorder_->set_operands(std::move(operands));
  }
  // The terms have a member x.
  template <class Terms>
  Operands(const Context& cx, const Terms& terms, const Tensor& y) : recorder_(cx.loops) {
    if (recorder_ == nullptr) return;
    LoopOperands operands{.writes = {bytes_of(y)}};
    for (const auto& term : terms) operands.reads.push_back(bytes_of(term.x));
    recorder_->set_operands(std::move(operands));
  }
  ~Operands() {
    if (recorder_ != nullptr) recorder_->set_operands({});
  }
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;

 private:
  LoopRecorder* recorder_;
};

namespace detail {
// Calls body(i) for each i in [0, n) on the CPU now, or records the loop. `worth` is the number of elements.
template <class Body>
void loop(const Context& cx, int64_t n, int64_t worth, const Body& body) {
  if (cx.loops == nullptr) return parallel_for(n, worth, body);
  const int64_t pieces = std::clamp<int64_t>(worth / cx.loops->elements_per_piece(), 1, std::max<int64_t>(n, 1));
  const int64_t each = (n + pieces - 1) / pieces;
  cx.loops->add({.pieces = n > 0 ? (n + each - 1) / each : 0, .body = [n, each, body](int64_t piece, LoopWorker&) {
                   for (int64_t i = piece * each; i < std::min(n, (piece + 1) * each); ++i) body(i);
                 }});
}
}  // namespace detail

namespace detail {
// Calls f.one<V>(f.row(r), c) for every row r in [begin, end) and channel c in [0, channels) on this thread of the CPU.
template <class F>
void for_rows(const F& f, int64_t begin, int64_t end, int64_t channels) {
  at_cpu_level([&] {
    for (int64_t row = begin; row < end; ++row) {
      const auto at = f.row(row);
      int64_t c = 0;
      for (; c + 16 <= channels; c += 16) run<Floats16>(f, at, c);
      if (c + 8 <= channels) {
        run<Floats8>(f, at, c);
        c += 8;
      }
      for (; c < channels; ++c) run<float>(f, at, c);
    }
  });
}
}  // namespace detail

// Calls f.one<V>(f.row(r), c) for every row r in [0, rows) and channel c in [0, channels).
template <class F>
void for_each(const Context& cx, int64_t rows, int64_t channels, const F& f) {
  const Profiled profiled(cx, F::kName, f.bytes_per_element() * static_cast<double>(rows * channels));
  if (cx.device.is_cuda()) return gpu::for_each(cx.stream, rows, channels, f);
  // Small maps have fewer rows in a chunk, so that all threads have some.
  const int64_t each = std::clamp<int64_t>(rows / 16, 1, 256);
  detail::loop(cx, (rows + each - 1) / each, rows * channels, [f, rows, channels, each](int64_t chunk) {
    detail::for_rows(f, chunk * each, std::min(rows, (chunk + 1) * each), channels);
  });
}

namespace detail {
// Sums the rows of one block for `Vectors` neighbouring V of channels. Several at once hide the latency of the
// additions.
template <class V, int Vectors, class F>
void reduce_lanes(const F& f, int64_t begin, int64_t end, int64_t c0, int64_t channels, float* partial) {
  constexpr int kCount = Lanes<V>::kCount;
  V sums[Vectors][F::kSums] = {};
  for (int64_t row = begin; row < end; ++row) {
    const auto at = f.row(row);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      V terms[F::kSums];
      run<V>(f, at, c0 + v * kCount, terms);
      for (int s = 0; s < F::kSums; ++s) sums[v][s] += terms[s];
    }
  }
  for (int v = 0; v < Vectors; ++v) {
    for (int s = 0; s < F::kSums; ++s) store<V>(partial + s * channels + c0 + v * kCount, sums[v][s]);
  }
}
}  // namespace detail

// The sums of a reduction over each block of block_rows(rows) rows.
struct Partials {
  Tensor sums;  // [blocks, kSums, channels] f32.
  int64_t blocks = 0;
};

// f.one<V>(at, c, terms) returns F::kSums numbers and may also write outputs. for_columns merges the sums of the
// blocks.
template <class F>
Partials reduce_rows(const Context& cx, int64_t rows, int64_t channels, const F& f) {
  const int64_t rows_each = block_rows(rows), blocks = (rows + rows_each - 1) / rows_each;
  Partials partials{cx.empty({blocks, F::kSums, channels}, DType::f32), blocks};
  float* partial = partials.sums.data<float>();
  const Profiled profiled(cx, F::kName, f.bytes_per_element() * static_cast<double>(rows * channels));
  if (cx.device.is_cuda()) {
    gpu::reduce_rows(cx.stream, rows, channels, f, partial);
    return partials;
  }
  detail::loop(cx, blocks, rows * channels, [=](int64_t block) {
    const int64_t begin = block * rows_each, end = std::min(rows, begin + rows_each);
    float* out = partial + block * F::kSums * channels;
    at_cpu_level([&] {
      int64_t c = 0;
      for (; c + 64 <= channels; c += 64) detail::reduce_lanes<Floats16, 4>(f, begin, end, c, channels, out);
      for (; c + 32 <= channels; c += 32) detail::reduce_lanes<Floats16, 2>(f, begin, end, c, channels, out);
      for (; c + 16 <= channels; c += 16) detail::reduce_lanes<Floats16, 1>(f, begin, end, c, channels, out);
      for (; c + 8 <= channels; c += 8) detail::reduce_lanes<Floats8, 1>(f, begin, end, c, channels, out);
      for (; c < channels; ++c) detail::reduce_lanes<float, 1>(f, begin, end, c, channels, out);
    });
  });
  return partials;
}

// Computes one result per channel from `parts` pieces: state = f.part(0, c), then state.add(f.part(b, c)) for the
// others, then f.finish(c, state). On a GPU the parts are divided into strands of neighbours, whose states are then
// added pairwise. Throws Error if there are no parts, because the sum of nothing is not defined.
template <class F>
void for_columns(const Context& cx, int64_t parts, int64_t channels, const F& f) {
  check(parts > 0, "merge of partial sums: there is nothing to merge for {} channels, because the tensor has no rows",
        channels);
  const Profiled profiled(cx, "merge of partial sums", 8.0 * static_cast<double>(parts * channels));
  if (cx.device.is_cuda()) return gpu::for_columns(cx.stream, parts, channels, f);
  constexpr int64_t kTile = 16;  // Channels that share cache lines.
  detail::loop(cx, (channels + kTile - 1) / kTile, parts * channels, [=](int64_t tile) {
    const int64_t first = tile * kTile, count = std::min(kTile, channels - first);
    at_cpu_level([&] {
      typename F::State state[kTile];
      for (int64_t c = 0; c < count; ++c) state[c] = f.part(0, first + c);
      for (int64_t b = 1; b < parts; ++b) {
        for (int64_t c = 0; c < count; ++c) state[c].add(f.part(b, first + c));
      }
      for (int64_t c = 0; c < count; ++c) f.finish(first + c, state[c]);
    });
  });
}

// Calls f.one<V>(i) for flat arrays of n elements.
template <class F>
void for_each_flat(const Context& cx, int64_t n, const F& f) {
  const Profiled profiled(cx, F::kName, f.bytes_per_element() * static_cast<double>(n));
  if (cx.device.is_cuda()) return gpu::for_each_flat(cx.stream, n, f);
  constexpr int64_t kChunk = 16384;
  detail::loop(cx, (n + kChunk - 1) / kChunk, n, [f, n](int64_t chunk) {
    const int64_t end = std::min(n, (chunk + 1) * kChunk);
    at_cpu_level([&] {
      int64_t i = chunk * kChunk;
      for (; i + 16 <= end; i += 16) f.template one<Floats16>(i);
      for (; i < end; ++i) f.template one<float>(i);
    });
  });
}

}  // namespace hr
