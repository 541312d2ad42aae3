#include "ops/conv/winograd_loops.h"

#include <algorithm>

#include "ops/conv/vector_loops.h"
#include "ops/sigmoid.h"

namespace hr::winograd {
namespace {

#if defined(__x86_64__)

// The interpolation points include +-kA and +-kB.
constexpr float kA = 0.707106781186547524f, kB = 1.41421356237309505f;

// Computes out = B^T d. The rows of B^T are
//   [1, 0, -5/2, 0, 1, 0], [0, -+2a, -2, +-a, 1, 0], [0, -+b/2, -1/2, +-b, 1, 0], [0, 1, 0, -5/2, 0, 1].
template <class V>
HR_INLINE void input_rows(const V (&d)[6], V (&out)[6]) {
  const V even_a = d[4] - 2.0f * d[2], odd_a = kA * d[3] - (2 * kA) * d[1];
  const V even_b = d[4] - 0.5f * d[2], odd_b = kB * d[3] - (0.5f * kB) * d[1];
  out[0] = (d[0] + d[4]) - 2.5f * d[2];
  out[1] = even_a + odd_a;
  out[2] = even_a - odd_a;
  out[3] = even_b + odd_b;
  out[4] = even_b - odd_b;
  out[5] = (d[1] + d[5]) - 2.5f * d[3];
}

// Computes out = G g. The rows of G are
//   [1, 0, 0], -2/3 [1, +-a, a^2], 1/6 [1, +-b, b^2], [0, 0, 1].
template <class V>
HR_INLINE void filter_rows(const V (&g)[3], V (&out)[6]) {
  constexpr float kThird = 1.0f / 3;
  const V even_a = (-2 * kThird) * g[0] - kThird * g[2], odd_a = (-2 * kThird * kA) * g[1];
  const V even_b = (0.5f * kThird) * g[0] + kThird * g[2], odd_b = (0.5f * kThird * kB) * g[1];
  out[0] = g[0];
  out[1] = even_a + odd_a;
  out[2] = even_a - odd_a;
  out[3] = even_b + odd_b;
  out[4] = even_b - odd_b;
  out[5] = g[2];
}

// Computes out = A^T m. The columns of A^T are [1, p, p^2, p^3] for each point p and [0, 0, 0, 1] for infinity.
template <class V>
HR_INLINE void output_rows(const V (&m)[6], V (&out)[4]) {
  const V sum_a = m[1] + m[2], difference_a = m[1] - m[2];
  const V sum_b = m[3] + m[4], difference_b = m[3] - m[4];
  out[0] = m[0] + (sum_a + sum_b);
  out[1] = kA * difference_a + kB * difference_b;
  out[2] = 0.5f * sum_a + 2.0f * sum_b;
  out[3] = (0.5f * kA * difference_a + 2.0f * kB * difference_b) + m[5];
}

// Transposes a square of vectors. Each step interleaves vector i with vector i + half.
template <class V>
HR_INLINE void transpose(V* square) {
  constexpr int kCount = Lanes<V>::kCount;
  for (int step = 1; step < kCount; step *= 2) {
    V mixed[kCount];
#pragma GCC unroll 8
    for (int i = 0; i < kCount / 2; ++i) {
      const V a = square[i], b = square[i + kCount / 2];
      if constexpr (kCount == 8) {
        mixed[2 * i] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
        mixed[2 * i + 1] = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
      } else {
        mixed[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        mixed[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      }
    }
    for (int i = 0; i < kCount; ++i) square[i] = mixed[i];
  }
}

template <class V>
HR_INLINE void transform_filters(const Problem& p, const Filters& from, int64_t k0, int64_t c0, int64_t c1,
                                 Matrices<float> to) {
  constexpr int kCount = Lanes<V>::kCount;
  const int64_t ks = std::min<int64_t>(kCount, p.k - k0);
  for (int64_t c = c0; c < c1; c += kCount) {
    const int64_t cs = std::min<int64_t>(kCount, c1 - c);
    // The array is indexed by [tap][channel], and each lane of a vector belongs to one output channel.
    V taps[9][kCount];
    for (int64_t tap = 0; tap < 9; ++tap) {
      const float* base =
          from.data + k0 * from.k_stride + c * from.c_stride + (from.rotated ? 8 - tap : tap) * from.tap_stride;
      V* square = taps[tap];
      if (from.k_stride == 1) {
        for (int64_t i = 0; i < cs; ++i) {
          const float* at = base + i * from.c_stride;
          square[i] = load_count<V>(at, ks);
        }
      } else {
        for (int64_t i = 0; i < kCount; ++i) {
          const float* at = base + i * from.k_stride;
          square[i] = i >= ks ? V{} : cs == kCount ? load<V>(at) : load_count<V>(at, cs);
        }
        transpose<V>(square);
      }
    }
    for (int64_t i = 0; i < cs; ++i) {
      V columns[3][6];
      for (int x = 0; x < 3; ++x) {
        const V g[3] = {taps[x][i], taps[3 + x][i], taps[6 + x][i]};
        filter_rows<V>(g, columns[x]);
      }
      float* out = to.data + (c - c0 + i) * to.row_stride;
#pragma GCC unroll 6
      for (int y = 0; y < 6; ++y) {
        const V g[3] = {columns[0][y], columns[1][y], columns[2][y]};
        V u[6];
        filter_rows<V>(g, u);
        for (int x = 0; x < 6; ++x) store<V>(out + (y * 6 + x) * to.point_stride, u[x]);
      }
    }
  }
}

// A place is the position of the tile with a given number.
struct Place {
  int64_t image, y, x;  // The tile's first output is at (y, x) of this image.
  Place(const Problem& p, int64_t tile)
      : image(tile / (p.tiles_h * p.tiles_w)), y(tile / p.tiles_w % p.tiles_h * kTile), x(tile % p.tiles_w * kTile) {}
};

// Transforms one patch for one vector of channels. patch(y, x) loads an input.
template <class V, class Patch>
HR_INLINE void transform_patch(const Patch& patch, float* out, int64_t point_stride) {
  V columns[6][6];
#pragma GCC unroll 6
  for (int x = 0; x < 6; ++x) {
    const V d[6] = {patch(0, x), patch(1, x), patch(2, x), patch(3, x), patch(4, x), patch(5, x)};
    input_rows<V>(d, columns[x]);
  }
#pragma GCC unroll 6
  for (int y = 0; y < 6; ++y) {
    const V d[6] = {columns[0][y], columns[1][y], columns[2][y], columns[3][y], columns[4][y], columns[5][y]};
    V v[6];
    input_rows<V>(d, v);
#pragma GCC unroll 6
    for (int x = 0; x < 6; ++x) store<V>(out + (y * 6 + x) * point_stride, v[x]);
  }
}

template <class V>
HR_INLINE void transform_inputs(const Problem& p, int64_t first, int64_t count, int64_t c0, int64_t c1,
                                Matrices<float> to) {
  constexpr int kCount = Lanes<V>::kCount;
  const int64_t whole = c0 + (c1 - c0) / kCount * kCount, row = p.w * p.c;
  for (int64_t t = 0; t < count; ++t) {
    const Place place(p, first + t);
    const int64_t y0 = place.y - p.pad, x0 = place.x - p.pad;
    const float* image = p.x + place.image * p.h * row;
    float* out = to.data + t * to.row_stride;
    const bool inside = y0 >= 0 && x0 >= 0 && y0 + kPatch <= p.h && x0 + kPatch <= p.w;
    const auto at = [&](int y, int x) { return image + (y0 + y) * row + (x0 + x) * p.c; };
    const auto exists = [&](int y, int x) { return y0 + y >= 0 && y0 + y < p.h && x0 + x >= 0 && x0 + x < p.w; };
    int64_t c = c0;
    if (inside) {
      for (; c < whole; c += kCount) {
        transform_patch<V>([&](int y, int x) { return load<V>(at(y, x) + c); }, out + c, to.point_stride);
      }
    } else {
      for (; c < whole; c += kCount) {
        transform_patch<V>([&](int y, int x) { return exists(y, x) ? load<V>(at(y, x) + c) : V{}; }, out + c,
                           to.point_stride);
      }
    }
    if (c < c1) {
      V patch[6][6];
      for (int y = 0; y < 6; ++y) {
        for (int x = 0; x < 6; ++x) patch[y][x] = exists(y, x) ? load_count<V>(at(y, x) + c, c1 - c) : V{};
      }
      transform_patch<V>([&](int y, int x) { return patch[y][x]; }, out + c, to.point_stride);
    }
  }
}

// Multiplies R rows by NV vectors of columns. The sums stay in registers.
template <class V, int R, int NV, bool Transposed>
HR_INLINE void multiply_rows(int64_t depth, const float* left, int64_t left_stride, const float* right,
                             int64_t right_stride, float* out, int64_t out_stride, bool accumulate) {
  constexpr int kCount = Lanes<V>::kCount;
  V sums[R][NV];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) sums[r][v] = accumulate ? load<V>(out + r * out_stride + v * kCount) : V{};
  }
  for (int64_t d = 0; d < depth; ++d) {
    V u[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) u[v] = load<V>(right + d * right_stride + v * kCount);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float x = Transposed ? left[d * left_stride + r] : left[r * left_stride + d];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sums[r][v] += x * u[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) store<V>(out + r * out_stride + v * kCount, sums[r][v]);
  }
}

// Calls multiply_rows for a number of rows that is known only at run time and is at most R.
template <class V, int R, int NV, bool Transposed, class... Args>
HR_INLINE void multiply_some(int64_t rows, const Args&... args) {
  if (rows == R) return multiply_rows<V, R, NV, Transposed>(args...);
  if constexpr (R > 1) multiply_some<V, R - 1, NV, Transposed>(rows, args...);
}

template <class V, int R, int NV, bool Transposed>
HR_INLINE void multiply_points(int points, int64_t rows, int64_t depth, Matrices<const float> left,
                               Matrices<const float> right, Matrices<float> products, bool accumulate) {
  const int64_t parts = (rows + R - 1) / R;
  for (int point = 0; point < points; ++point) {
    for (int64_t part = 0; part < parts; ++part) {
      // The rows are divided into parts of equal size, because a part with few rows does not fill the pipelines.
      const int64_t begin = part * rows / parts, count = (part + 1) * rows / parts - begin;
      multiply_some<V, R, NV, Transposed>(
          count, depth, left.data + point * left.point_stride + begin * (Transposed ? 1 : left.row_stride),
          left.row_stride, right.data + point * right.point_stride, right.row_stride,
          products.data + point * products.point_stride + begin * products.row_stride, products.row_stride, accumulate);
    }
  }
}

template <class V, int R, bool Transposed>
HR_INLINE void multiply(int points, int64_t rows, int64_t depth, int vectors, Matrices<const float> left,
                        Matrices<const float> right, Matrices<float> products, bool accumulate) {
  if (vectors == 2) {
    multiply_points<V, R, 2, Transposed>(points, rows, depth, left, right, products, accumulate);
  } else {
    multiply_points<V, R, 1, Transposed>(points, rows, depth, left, right, products, accumulate);
  }
}

// Adds the bias and `add` and applies the activation for `count` channels of the output that starts at index `at`.
template <class V>
HR_INLINE void finish(const Problem& p, V sum, V bias, int64_t at, int64_t count) {
  sum = sum + bias;
  if (p.act == ConvAct::silu) sum = silu(sum);
  if (p.add != nullptr) sum = sum + load_count<V>(p.add + at, count);
  if (p.act == ConvAct::relu) sum = at_least(sum, V{});
  store_count<V>(p.y + at, sum, count);
}

// Transforms the products of one tile and vector. store(y, x, value) takes the outputs that exist.
template <class V, class Store>
HR_INLINE void transform_products(const float* m, int64_t point_stride, int64_t rows, int64_t columns,
                                  const Store& store) {
  V half[6][4];
#pragma GCC unroll 6
  for (int x = 0; x < 6; ++x) {
    V column[6];
#pragma GCC unroll 6
    for (int y = 0; y < 6; ++y) column[y] = load<V>(m + (y * 6 + x) * point_stride);
    output_rows<V>(column, half[x]);
  }
#pragma GCC unroll 4
  for (int y = 0; y < 4; ++y) {
    if (y >= rows) break;
    const V row[6] = {half[0][y], half[1][y], half[2][y], half[3][y], half[4][y], half[5][y]};
    V out[4];
    output_rows<V>(row, out);
#pragma GCC unroll 4
    for (int x = 0; x < 4; ++x) {
      if (x < columns) store(y, x, out[x]);
    }
  }
}

// Writes the outputs of the tiles of one part and of one vector, and their statistics.
template <class V>
HR_INLINE void transform_part(const Problem& p, int64_t part, int64_t first, int64_t count, int64_t k,
                              const float* products, int64_t point_stride, int64_t row_stride) {
  constexpr int kCount = Lanes<V>::kCount;
  const int64_t ks = std::min<int64_t>(kCount, p.k - k);
  // The first output is the shift, so that a large mean costs no digits.
  V shift{}, sum{}, squares{};
  int64_t pixels = 0;
  for (int64_t t = 0; t < count; ++t) {
    const Place place(p, first + t);
    const int64_t rows = std::min<int64_t>(kTile, p.out_h - place.y),
                  columns = std::min<int64_t>(kTile, p.out_w - place.x);
    const int64_t corner = ((place.image * p.out_h + place.y) * p.out_w + place.x) * p.k + k;
    transform_products<V>(products + t * row_stride, point_stride, rows, columns, [&](int y, int x, V value) {
      if (y == 0 && x == 0 && t == 0) shift = value;
      const V d = value - shift;
      sum += d;
      squares += d * d;
      float* to = p.y + corner + (y * p.out_w + x) * p.k;
      store_count<V>(to, value, ks);
    });
    pixels += rows * columns;
  }
  const V numbers[4] = {V{} + static_cast<float>(pixels), shift, sum, squares};
  for (int i = 0; i < 4; ++i) {
    float* to = p.statistics + (part * 4 + i) * p.k + k;
    store_count<V>(to, numbers[i], ks);
  }
}

template <class V, int R>
HR_INLINE void transform_outputs(const Problem& p, int64_t first, int64_t count, int64_t k0, int vectors,
                                 Matrices<const float> products) {
  constexpr int kCount = Lanes<V>::kCount;
  if (p.statistics != nullptr) {
    for (int64_t t = 0; t < count; t += R) {
      for (int v = 0; v < vectors; ++v) {
        transform_part<V>(p, (first + t) / R, first + t, std::min<int64_t>(R, count - t), k0 + v * kCount,
                          products.data + t * products.row_stride + v * kCount, products.point_stride,
                          products.row_stride);
      }
    }
    return;
  }
  for (int64_t t = 0; t < count; ++t) {
    const Place place(p, first + t);
    const int64_t rows = std::min<int64_t>(kTile, p.out_h - place.y),
                  columns = std::min<int64_t>(kTile, p.out_w - place.x);
    for (int v = 0; v < vectors; ++v) {
      const int64_t k = k0 + v * kCount, ks = std::min<int64_t>(kCount, p.k - k);
      const V bias = p.bias == nullptr ? V{} : load_count<V>(p.bias + k, ks);
      const int64_t corner = ((place.image * p.out_h + place.y) * p.out_w + place.x) * p.k + k;
      transform_products<V>(
          products.data + t * products.row_stride + v * kCount, products.point_stride, rows, columns,
          [&](int y, int x, V value) { finish<V>(p, value, bias, corner + (y * p.out_w + x) * p.k, ks); });
    }
  }
}

// Computes out = A m.
template <class V>
HR_INLINE void gradient_rows(const V (&m)[4], V (&out)[6]) {
  const V even_a = m[0] + 0.5f * m[2], odd_a = kA * m[1] + (0.5f * kA) * m[3];
  const V even_b = m[0] + 2.0f * m[2], odd_b = kB * m[1] + (2.0f * kB) * m[3];
  out[0] = m[0];
  out[1] = even_a + odd_a;
  out[2] = even_a - odd_a;
  out[3] = even_b + odd_b;
  out[4] = even_b - odd_b;
  out[5] = m[3];
}

// Computes out = G^T u.
template <class V>
HR_INLINE void filter_gradient_rows(const V (&u)[6], V (&out)[3]) {
  constexpr float kThird = 1.0f / 3;
  const V sum_a = u[1] + u[2], difference_a = u[1] - u[2];
  const V sum_b = u[3] + u[4], difference_b = u[3] - u[4];
  out[0] = u[0] + ((0.5f * kThird) * sum_b - (2 * kThird) * sum_a);
  out[1] = (0.5f * kThird * kB) * difference_b - (2 * kThird * kA) * difference_a;
  out[2] = kThird * (sum_b - sum_a) + u[5];
}

template <class V>
HR_INLINE void transform_gradients(const Problem& p, const float* dy, int64_t first, int64_t count, int64_t k0,
                                   int64_t k1, Matrices<float> to) {
  constexpr int kCount = Lanes<V>::kCount;
  for (int64_t t = 0; t < count; ++t) {
    const Place place(p, first + t);
    const int64_t rows = p.out_h - place.y, columns = p.out_w - place.x;
    const float* base = dy + ((place.image * p.out_h + place.y) * p.out_w + place.x) * p.k;
    for (int64_t k = k0; k < k1; k += kCount) {
      const int64_t ks = std::min<int64_t>(kCount, k1 - k);
      const auto at = [&](int y, int x) {
        if (y >= rows || x >= columns) return V{};
        const float* from = base + (y * p.out_w + x) * p.k + k;
        return load_count<V>(from, ks);
      };
      V half[4][6];
#pragma GCC unroll 4
      for (int x = 0; x < 4; ++x) {
        const V column[4] = {at(0, x), at(1, x), at(2, x), at(3, x)};
        gradient_rows<V>(column, half[x]);
      }
      float* out = to.data + t * to.row_stride + k;
#pragma GCC unroll 6
      for (int y = 0; y < 6; ++y) {
        const V row[4] = {half[0][y], half[1][y], half[2][y], half[3][y]};
        V m[6];
        gradient_rows<V>(row, m);
#pragma GCC unroll 6
        for (int x = 0; x < 6; ++x) store<V>(out + (y * 6 + x) * to.point_stride, m[x]);
      }
    }
  }
}

template <class V>
HR_INLINE void finish_filters(const Problem& p, int64_t k0, int64_t k1, Matrices<const float> sums, float* dfilter) {
  constexpr int kCount = Lanes<V>::kCount;
  for (int64_t k = k0; k < k1; ++k) {
    for (int64_t c = 0; c < p.c; c += kCount) {
      const int64_t cs = std::min<int64_t>(kCount, p.c - c);
      const float* from = sums.data + k * sums.row_stride + c;
      V half[6][3];
#pragma GCC unroll 6
      for (int x = 0; x < 6; ++x) {
        V column[6];
#pragma GCC unroll 6
        for (int y = 0; y < 6; ++y) column[y] = load<V>(from + (y * 6 + x) * sums.point_stride);
        filter_gradient_rows<V>(column, half[x]);
      }
#pragma GCC unroll 3
      for (int y = 0; y < 3; ++y) {
        const V row[6] = {half[0][y], half[1][y], half[2][y], half[3][y], half[4][y], half[5][y]};
        V g[3];
        filter_gradient_rows<V>(row, g);
        for (int x = 0; x < 3; ++x) {
          float* out = dfilter + (k * 9 + y * 3 + x) * p.c + c;
          if (cs == kCount) {
            store<V>(out, g[x]);
          } else {
            store_count<V>(out, g[x], cs);
          }
        }
      }
    }
  }
}

// This macro compiles the loops for one level with its instructions. The attribute `flatten` inlines everything that
// they call, so that no other function is compiled with instructions that the processor may lack.
#define HR_WINOGRAD_LOOPS(level, V, R, instructions)                                                                 \
  __attribute__((target(instructions), flatten)) void filters_##level(                                               \
      const Problem& p, const Filters& from, int64_t k0, int64_t c0, int64_t c1, Matrices<float> to) {               \
    transform_filters<V>(p, from, k0, c0, c1, to);                                                                   \
  }                                                                                                                  \
  __attribute__((target(instructions), flatten)) void inputs_##level(const Problem& p, int64_t first, int64_t count, \
                                                                     int64_t c0, int64_t c1, Matrices<float> to) {   \
    transform_inputs<V>(p, first, count, c0, c1, to);                                                                \
  }                                                                                                                  \
  __attribute__((target(instructions), flatten)) void multiply_##level(                                              \
      int points, int64_t rows, int64_t depth, int vectors, Matrices<const float> left, Matrices<const float> right, \
      Matrices<float> products, bool accumulate) {                                                                   \
    multiply<V, R, false>(points, rows, depth, vectors, left, right, products, accumulate);                          \
  }                                                                                                                  \
  __attribute__((target(instructions), flatten)) void multiply_transposed_##level(                                   \
      int points, int64_t rows, int64_t depth, int vectors, Matrices<const float> left, Matrices<const float> right, \
      Matrices<float> products, bool accumulate) {                                                                   \
    multiply<V, R, true>(points, rows, depth, vectors, left, right, products, accumulate);                           \
  }                                                                                                                  \
  __attribute__((target(instructions), flatten)) void outputs_##level(                                               \
      const Problem& p, int64_t first, int64_t count, int64_t k0, int vectors, Matrices<const float> products) {     \
    transform_outputs<V, R>(p, first, count, k0, vectors, products);                                                 \
  }                                                                                                                  \
  __attribute__((target(instructions), flatten)) void gradients_##level(                                             \
      const Problem& p, const float* dy, int64_t first, int64_t count, int64_t k0, int64_t k1, Matrices<float> to) { \
    transform_gradients<V>(p, dy, first, count, k0, k1, to);                                                         \
  }                                                                                                                  \
  __attribute__((target(instructions), flatten)) void finish_##level(const Problem& p, int64_t k0, int64_t k1,       \
                                                                     Matrices<const float> sums, float* dfilter) {   \
    finish_filters<V>(p, k0, k1, sums, dfilter);                                                                     \
  }                                                                                                                  \
  constexpr Loops loops_##level{Lanes<V>::kCount, R,                                                                 \
                                filters_##level,  inputs_##level,                                                    \
                                multiply_##level, multiply_transposed_##level,                                       \
                                outputs_##level,  gradients_##level,                                                 \
                                finish_##level};

HR_WINOGRAD_LOOPS(v3, Floats8, 6, HR_INSTRUCTIONS_V3)
HR_WINOGRAD_LOOPS(v4, Floats16, 12, HR_INSTRUCTIONS_V4)
#endif

}  // namespace

const Loops* loops_at(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::v4) return &loops_v4;
  if (level == CpuLevel::v3) return &loops_v3;
#endif
  return nullptr;
}

}  // namespace hr::winograd
