// These are the inner loops of convolutions with 8-bit integers on the CPU, compiled for one instruction set each. The
// activations are unsigned bytes. Their zero is 0 after a ReLU and another byte after a SiLU, whose results may be
// negative; the biases then contain what that byte adds to the sums. The weights are signed bytes, and the sums are
// 32-bit integers, which are exact. The epilogue uses only single multiplications and additions in a fixed
// order. Therefore all instruction sets give the same bits.
#pragma once
#include <cstdint>

namespace hr::int8 {

// The output channels are divided into blocks of this many; the last block may be smaller.
constexpr int kBlock = 32;
// Pixels are computed in groups of this many neighbours in a row of the output.
constexpr int kGroup = 3;

// A problem is one correlation over bytes. With `sum` the integer sum over the taps of x and the weights,
//   v = float(sum + bias[k]) scale[k]  (+ float(add) add_scale[k])
// and the result is round(v) limited to [0, 255], or v itself, or max(v, 0). With SiLU it is
//   v = silu(float(sum + bias[k]) scale[k]) silu_scale[k] (+ the same summand) + silu_offset[k]
// Rounding goes to the nearest integer, and to the even one in the middle. The pointers must stay valid while the loops
// use them.
struct Problem {
  const uint8_t* x = nullptr;  // The first tap of the output (0, 0) of image 0.
  int64_t image_step = 0;      // Bytes from one image to the next.
  int64_t row_step = 0;        // Bytes between the inputs of neighbouring output rows.
  int64_t pixel_step = 0;      // Bytes between the inputs of neighbouring outputs in a row.
  int64_t tap_rows = 1;        // A filter has this many rows of taps.
  int64_t tap_row_step = 0;    // Bytes from one row of taps to the next.
  int64_t steps = 0;           // The taps of a row are 4 * steps bytes that follow each other.
  int64_t out_h = 0, out_w = 0, k = 0;
  // The taps of output row y are at the input rows y row_stride + first_row + [0, tap_rows). Rows outside of [0, in_h)
  // are zeros in memory, so a loop may leave them out. If the zero of the input is another byte than 0, in_h is so
  // large that none is left out.
  int64_t in_h = 0, row_stride = 1, first_row = 0;

  const int8_t* weights = nullptr;  // [blocks][tap_rows][steps][kBlock][4]
  const int32_t* bias = nullptr;    // [blocks * kBlock]
  const float* scale = nullptr;     // [blocks * kBlock]

  // The output has this layout, and so has add_u8: element = n out_image + y out_row + x out_pixel + k.
  int64_t out_image = 0, out_row = 0, out_pixel = 0;
  uint8_t* y_u8 = nullptr;  // Exactly one of the two outputs is set.
  float* y_f32 = nullptr;
  bool relu = false;                // It applies to y_f32.
  const uint8_t* add_u8 = nullptr;  // At most one of the two summands is set.
  // This summand is dense: element = ((n out_h + y) out_w + x) k + channel.
  const float* add_f32 = nullptr;
  const float* add_scale = nullptr;  // [blocks * kBlock], as are the scales and offsets of SiLU.
  bool silu = false;
  const float* silu_scale = nullptr;
  const float* silu_offset = nullptr;

  int64_t blocks() const { return (k + kBlock - 1) / kBlock; }
};

// Computes the rows [y0, y1) of image n for one block of output channels. Up to kGroup - 1 pixels beyond the end of a
// row are read and not used, so their taps must be readable memory. Thread-safe as long as the outputs do not overlap.
using Loop = void (*)(const Problem&, int64_t n, int64_t y0, int64_t y1, int64_t block);

// The ways to compute. `vnni` needs AVX-512 with VNNI, `avx2` needs AVX2.
enum class Path { plain, avx2, vnni };
// Returns the fastest way of this processor, at most that of cpu_level().
Path best_path();
// Returns whether the processor and this build have the path.
bool has_path(Path path);
Loop loop_of(Path path);

}  // namespace hr::int8
