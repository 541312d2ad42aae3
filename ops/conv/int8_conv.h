// Convolutions with 8-bit integers for inference on the CPU: unsigned activations, signed weights with one scale per
// output channel, exact 32-bit sums (ops/conv/int8_loops.h). The arithmetic of a quantised network lives here; which
// tensors are quantised by which scale is decided in hrnet/infer/int8_network.
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "ops/conv/backend.h"
#include "ops/conv/int8_loops.h"

namespace hr {

// A byte stands for a number: number = (byte - zero) * scale. A scale of 0 means that the values are float32.
struct Int8Step {
  float scale = 0;
  int zero = 0;
  Int8Step(float s = 0, int z = 0) : scale(s), zero(z) {}  // NOLINT: implicit
  bool operator==(const Int8Step&) const = default;
};

// The steps of a tensor whose channels differ in size: number = (byte - zero) * scale * factor[channel]. Whoever reads
// such bytes has the factors in its weights, so that for it the tensor has one step.
struct Int8Steps : Int8Step {
  std::vector<float> factors;  // [channels], positive; empty: all are 1.
  Int8Steps(float s = 0, int z = 0, std::vector<float> f = {}) : Int8Step(s, z), factors(std::move(f)) {}  // NOLINT
  Int8Steps(Int8Step step, std::vector<float> f = {}) : Int8Step(step), factors(std::move(f)) {}           // NOLINT
  float factor(size_t channel) const { return factors.empty() ? 1.0F : factors[channel]; }
  // Throws Error unless there are no factors, or one for each channel, which are positive and finite.
  void require_channels(int64_t channels) const;
};

// The layout of quantised activations [n, h, w, c] in memory: NHWC with a border of zeros, so that a convolution reads
// its padding like any other pixel. Neighbouring rows share one column of the border, and neighbouring images one row.
// The number of channels is rounded up to a multiple of 4.
struct Int8Layout {
  int64_t n = 0, h = 0, w = 0, c = 0;

  int64_t pixel() const { return (c + 3) / 4 * 4; }  // Bytes from one pixel to the next.
  int64_t row() const { return (w + 1) * pixel(); }
  int64_t image() const { return (h + 1) * row(); }
  int64_t first() const { return row() + pixel(); }  // The offset of pixel (0, 0) of image 0.
  // The number of bytes. The loops may read some pixels beyond the last one, and they use none of them.
  int64_t bytes() const { return first() + n * image() + 8 * pixel() + 64; }
  bool operator==(const Int8Layout&) const = default;
};

// The quantised weights of one convolution: weight = values * scale[o].
struct Int8Weights {
  std::vector<int8_t> values;  // [o, kh, kw, i]
  std::vector<float> scale;    // [o], positive
  std::vector<float> bias;     // [o]
};

// Chooses the scale of each output channel so that its largest weight becomes 127. `filter` is [o, kh, kw, i]. Throws
// Error if a number is not finite.
Int8Weights quantise_weights(std::span<const float> filter, std::span<const float> bias);

// A convolution whose weights are packed for the loops, together with the scales of its input and output.
class Int8Conv {
 public:
  struct Shape {
    int64_t in = 0, out = 0;
    int kernel = 3, stride = 1, pad = 1;
    bool transposed = false;
  };
  // `in`, `out` and `add` are the steps of the input's, output's and summand's bytes; the scale 0 of `out` means that
  // the output is float32. Convolutions may have any kernel with pad <= 1; transposed ones must be 4x4 with stride 2
  // and pad 1, and the zero of their input must be 0. Only results of a SiLU, and what is added to them, may have
  // another zero than 0 and factors. Throws Error for other shapes, for sizes that do not agree, for scales that are
  // not positive and finite, for zeros outside of [0, 255], and for so many weights that the 32-bit sums could
  // overflow.
  Int8Conv(const Shape& shape, const Int8Weights& weights, Int8Step in, const Int8Steps& out, bool silu = false,
           const Int8Steps& add = 1.0F);

  // The operands of one call. x is a quantised tensor; y and add have the output's shape.
  struct Call {
    Int8Layout in;
    const uint8_t* x = nullptr;
    uint8_t* y_u8 = nullptr;  // In the layout Int8Layout; its border is not written.
    float* y_f32 = nullptr;   // Dense [n, h, w, out].
    bool relu = false;        // For y_f32; y_u8 is never negative.
    // At most one summand: bytes, or floats in units of the scale of `add`, dense and not for transposed convolutions.
    // It is added after a SiLU and before a ReLU.
    const uint8_t* add_u8 = nullptr;
    const float* add_f32 = nullptr;
  };
  int64_t out_h(int64_t h) const;
  int64_t out_w(int64_t w) const;

  // A call is divided into pieces of work that may run at the same time on any threads. The division depends only on
  // the shapes, and so do the results.
  int64_t pieces(const Int8Layout& in) const;
  void run(const Call& call, int64_t piece, int8::Path path = int8::best_path()) const;
  // Runs all pieces on the threads of OpenMP.
  void run_all(const Call& call, int8::Path path = int8::best_path()) const;

  const Shape& shape() const { return shape_; }
  // The bytes of memory that the weights take.
  size_t weight_bytes() const;
  // Multiplications of one call.
  double multiplications(const Int8Layout& in) const;

 private:
  // A transposed convolution consists of four plain ones, one for each parity of the output's row and column.
  struct Phase {
    int64_t tap_rows = 0, tap_columns = 0, first_row = 0, first_column = 0;  // Taps relative to the input pixel.
    int64_t out_row = 0, out_column = 0;
    std::vector<int8_t> packed;
  };
  struct Division {
    int64_t rows_per_piece = 0, row_pieces = 0, block_pieces = 0;
  };
  void pack(const Int8Weights& weights, Phase& phase, const std::vector<int>& rows, const std::vector<int>& columns);
  Division division(const Int8Layout& in) const;
  void set_ending(const Int8Steps& out, const Int8Steps& add);
  int8::Problem problem(const Call& call, const Phase& phase) const;

  Shape shape_;
  std::vector<Phase> phases_;
  std::vector<int32_t> bias_;
  std::vector<float> scale_;
  std::vector<float> silu_scale_, silu_offset_, add_scale_;  // As in int8::Problem.
  int in_zero_ = 0;
  bool silu_ = false;
};

}  // namespace hr
