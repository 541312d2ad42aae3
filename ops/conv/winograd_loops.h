// These are the inner loops of Winograd's convolution F(4x4, 3x3), compiled for one instruction set each. With a patch
// d of 6 x 6 inputs of one channel and a filter g of 3 x 3, the 4 x 4 outputs are
//   Y = A^T [ sum over channels of (G g G^T) * (B^T d B) ] A      (* multiplies element by element)
// which takes 36 multiplications instead of 144. The matrices belong to the interpolation points 0, +-1/sqrt(2),
// +-sqrt(2) and infinity. Compared with the usual points 0, +-1, +-2 and infinity they halve the rms rounding error.
//
// Every element of the result is computed by one chain of operations, whose order depends neither on the blocks nor on
// the threads. All functions are thread-safe as long as their outputs do not overlap.
#pragma once
#include <cstdint>
#include <type_traits>

#include "core/cpu_level.h"
#include "ops/conv/backend.h"

namespace hr::winograd {

constexpr int kTile = 4;     // The rows and columns of outputs in a tile.
constexpr int kPatch = 6;    // The rows and columns of inputs in the patch of a tile.
constexpr int kPoints = 36;  // The elements of a transformed patch, and so the products of a patch and a filter.

// A problem is y [n, out_h, out_w, k] = act(conv(x [n, h, w, c]) + bias? + add?) by the formula of ConvAct. The
// pointers must stay valid while the loops use it.
struct Problem {
  const float* x = nullptr;
  int64_t n = 0, h = 0, w = 0, c = 0, pad = 1;
  int64_t out_h = 0, out_w = 0, k = 0;
  int64_t tiles_h = 0, tiles_w = 0;
  const float* bias = nullptr;
  const float* add = nullptr;
  ConvAct act = ConvAct::none;
  float* y = nullptr;
  // [parts, 4, k] as of ConvBackend::forward_with_statistics, or null. A part has the outputs of Loops::rows
  // neighbouring tiles. There is then no bias, summand or activation.
  float* statistics = nullptr;

  int64_t tiles() const { return n * tiles_h * tiles_w; }
};

// Filters describes filters in memory: the weight of output channel k, input channel c and tap t is data[k k_stride + c
// c_stride + t tap_stride]. `rotated` takes the taps in the opposite order, as the data gradient does. One of the two
// channel strides is 1.
struct Filters {
  const float* data = nullptr;
  int64_t k_stride = 0, c_stride = 0, tap_stride = 0;
  bool rotated = false;
};

// Matrices holds one matrix for each of the 36 points: element (row, column) of point p is data[p point_stride + row
// row_stride + column].
template <class T>
struct Matrices {
  T* data = nullptr;
  int64_t point_stride = 0, row_stride = 0;

  // Returns the matrices from a point on.
  Matrices at_point(int64_t point) const { return {data + point * point_stride, point_stride, row_stride}; }
  operator Matrices<const T>() const requires(!std::is_const_v<T>) { return {data, point_stride, row_stride}; }
};

struct Loops {
  // A vector holds this many channels. A block of output channels has one or two vectors.
  int lanes = 0;
  int rows = 0;  // The products of this many rows are held in registers at once. A part of the statistics has as many.

  // Transforms the filters of `lanes` output channels from k0 on and of input channels [c0, c1), where c0 is a multiple
  // of `lanes`. Row c - c0 of the result holds input channel c. Output channels that the problem does not have (from k
  // on) become zero.
  void (*transform_filters)(const Problem&, const Filters&, int64_t k0, int64_t c0, int64_t c1, Matrices<float>);
  // Transforms the patches of `count` tiles and of channels [c0, c1), where c0 is a multiple of `lanes`. The result is
  // written to the rows from 0 on and the columns from c0 on. Columns up to the next multiple of `lanes` are written,
  // too.
  void (*transform_inputs)(const Problem&, int64_t first_tile, int64_t count, int64_t c0, int64_t c1, Matrices<float>);
  // Computes product (row, column) (+)= sum over `depth` of left (row, d) right (d, column) for each of `points`
  // matrices and one or two vectors of columns. multiply_transposed() reads left (d, row) instead of left (row, d).
  void (*multiply)(int points, int64_t rows, int64_t depth, int vectors, Matrices<const float> left,
                   Matrices<const float> right, Matrices<float> products, bool accumulate);
  void (*multiply_transposed)(int points, int64_t rows, int64_t depth, int vectors, Matrices<const float> left,
                              Matrices<const float> right, Matrices<float> products, bool accumulate);
  // Transforms the products into outputs and writes `count` tiles and `vectors` vectors of output channels from k0 on.
  // With statistics, first_tile must be a multiple of `rows`, and so must `count`, unless the tiles end there.
  void (*transform_outputs)(const Problem&, int64_t first_tile, int64_t count, int64_t k0, int vectors,
                            Matrices<const float> products);

  // The gradient of the filters is G^T [ sum over tiles of (A dY A^T) * (B^T d B) ] G. This function computes A dY A^T
  // for `count` tiles and output channels [k0, k1), where k0 is a multiple of `lanes`, and writes it to the columns
  // from k0 on.
  void (*transform_gradients)(const Problem&, const float* dy, int64_t first_tile, int64_t count, int64_t k0,
                              int64_t k1, Matrices<float>);
  // Computes the filters [k0, k1) of dfilter [k, 3, 3, c] from the sums, which have one row for each of these filters
  // and c columns.
  void (*finish_filters)(const Problem&, int64_t k0, int64_t k1, Matrices<const float> sums, float* dfilter);
};

// Returns the loops for an instruction set level, or null if there are none.
const Loops* loops_at(CpuLevel level);

}  // namespace hr::winograd
