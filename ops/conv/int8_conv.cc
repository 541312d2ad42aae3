#include "ops/conv/int8_conv.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace hr {
namespace {

constexpr int kMost = 127;                  // The largest absolute value of a weight.
constexpr float kMostBias = 1073741824.0F;  // 2^30; the other half of the 32 bits holds the products.

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

Int8Weights quantise_weights(std::span<const float> filter, std::span<const float> bias) {
  const size_t each = filter.size() / bias.size();
  check(each * bias.size() == filter.size(), "int8: {} weights do not fit {} output channels", filter.size(),
        bias.size());
  Int8Weights w;
  w.bias.assign(bias.begin(), bias.end());
  w.values.reserve(filter.size());
  for (size_t o = 0; o < bias.size(); ++o) {
    const std::span<const float> own = filter.subspan(o * each, each);
    float largest = 0;
    for (const float v : own) largest = std::max(largest, std::isfinite(v) ? std::abs(v) : v * v);
    check(std::isfinite(largest) && std::isfinite(bias[o]), "int8: the weights of output channel {} are not finite", o);
    // A channel whose weights are all zero has any scale.
    const float scale = std::max(largest / kMost, 1e-20F);
    w.scale.push_back(scale);
    for (const float v : own)
      w.values.push_back(static_cast<int8_t>(std::nearbyint(std::clamp(v / scale, -127.0F, 127.0F))));
  }
  return w;
}

void Int8Steps::require_channels(int64_t channels) const {
  check(factors.empty() || factors.size() == static_cast<size_t>(channels), "int8: {} factors do not fit {} channels",
        factors.size(), channels);
  for (const float f : factors) check(std::isfinite(f) && f > 0, "int8: the factor {} is not positive", f);
}

Int8Conv::Int8Conv(const Shape& s, const Int8Weights& weights, Int8Step in, const Int8Steps& out, bool silu,
                   const Int8Steps& add)
    : shape_(s), in_zero_(in.zero), silu_(silu) {
  const auto positive = [](float v) { return std::isfinite(v) && v > 0; };
  check(s.in > 0 && s.out > 0 && s.kernel > 0 && s.stride > 0 && s.pad >= 0, "int8: a convolution without a size");
  check(s.transposed ? s.kernel == 4 && s.stride == 2 && s.pad == 1 : s.pad <= 1 && s.kernel <= 7,
        "int8: a {}convolution {}x{} with stride {} and pad {} is not supported", s.transposed ? "transposed " : "",
        s.kernel, s.kernel, s.stride, s.pad);
  const int64_t each = s.kernel * s.kernel * s.in, most = static_cast<int64_t>(kMostBias) / (255 * kMost);
  check(each <= most, "int8: {} weights per output channel, expected at most {}", each, most);
  const auto outs = static_cast<size_t>(s.out);
  check(weights.values.size() == outs * static_cast<size_t>(each) && weights.scale.size() == outs &&
            weights.bias.size() == outs,
        "int8: {} weights, {} scales and {} biases do not fit {} channels of {} weights", weights.values.size(),
        weights.scale.size(), weights.bias.size(), s.out, each);
  check(positive(in.scale) && (out.scale == 0 || positive(out.scale)), "int8: scales {} and {} are not positive",
        in.scale, out.scale);
  const int most_in = s.transposed ? 0 : 255, most_out = silu && out.scale > 0 ? 255 : 0;
  check(in.zero >= 0 && in.zero <= most_in && out.zero >= 0 && out.zero <= most_out,
        "int8: the zeros {} and {}; expected at most {} and {}", in.zero, out.zero, most_in, most_out);
  check(positive(add.scale) && add.zero >= 0 && add.zero <= most_out,
        "int8: the summand's scale {} and zero {} are not possible", add.scale, add.zero);
  check(silu || (out.factors.empty() && add.factors.empty()), "int8: factors of channels need SiLU");
  out.require_channels(s.out);
  add.require_channels(s.out);

  const auto padded = static_cast<size_t>(ceil_div(s.out, int8::kBlock) * int8::kBlock);
  bias_.assign(padded, 0);
  scale_.assign(padded, 0.0F);
  for (size_t o = 0; o < outs; ++o) {
    check(positive(weights.scale[o]) && std::isfinite(weights.bias[o]),
          "int8: output channel {} has the scale {} and the bias {}", o, weights.scale[o], weights.bias[o]);
    const double unit = static_cast<double>(in.scale) * weights.scale[o];
    // The input's zero adds the same to every sum, because it also fills the border.
    int64_t weight_sum = 0;
    for (size_t i = 0; i < static_cast<size_t>(each); ++i)
      weight_sum += weights.values[o * static_cast<size_t>(each) + i];
    // Half a step of the sum is the error of rounding the bias, which is far below that of the weights.
    const double bias = std::nearbyint(weights.bias[o] / unit) - static_cast<double>(in.zero * weight_sum);
    bias_[o] = static_cast<int32_t>(std::clamp(bias, -double{kMostBias}, double{kMostBias}));
    scale_[o] = static_cast<float>(out.scale == 0 || silu ? unit : unit / out.scale);
    check(std::isfinite(scale_[o]), "int8: the scale of output channel {} is not finite", o);
  }
  set_ending(out, add);
  if (!s.transposed) {
    std::vector<int> taps(static_cast<size_t>(s.kernel));
    for (int i = 0; i < s.kernel; ++i) taps[static_cast<size_t>(i)] = i;
    pack(weights, phases_.emplace_back(Phase{s.kernel, s.kernel, -s.pad, -s.pad, 0, 0, {}}), taps, taps);
    return;
  }
  // Output row 2 t + a receives input row t - 1 by tap 3 and t by tap 1 if a = 0, and t by tap 2 and t + 1 by tap 0 if
  // a = 1. The same holds for columns.
  const std::vector<int> taps[2] = {{3, 1}, {2, 0}};
  for (int a = 0; a < 2; ++a) {
    for (int b = 0; b < 2; ++b) {
      pack(weights, phases_.emplace_back(Phase{2, 2, a - 1, b - 1, a, b, {}}), taps[a], taps[b]);
    }
  }
}

void Int8Conv::set_ending(const Int8Steps& out, const Int8Steps& add) {
  silu_scale_.assign(scale_.size(), 1.0F);
  silu_offset_.assign(scale_.size(), 0.0F);
  add_scale_.assign(scale_.size(), 0.0F);
  for (size_t o = 0; o < static_cast<size_t>(shape_.out); ++o) {
    const float step = out.scale == 0 ? 1.0F : out.scale * out.factor(o);
    add_scale_[o] = add.scale * add.factor(o) / step;
    if (!silu_ || out.scale == 0) continue;
    silu_scale_[o] = 1.0F / step;
    silu_offset_[o] = static_cast<float>(out.zero) - static_cast<float>(add.zero) * add_scale_[o];
  }
}

void Int8Conv::pack(const Int8Weights& weights, Phase& phase, const std::vector<int>& rows,
                    const std::vector<int>& columns) {
  const int64_t pixel = Int8Layout{1, 1, 1, shape_.in}.pixel(), blocks = ceil_div(shape_.out, int8::kBlock);
  const int64_t row_bytes = phase.tap_columns * pixel * int8::kBlock;
  phase.packed.assign(static_cast<size_t>(blocks * phase.tap_rows * row_bytes), 0);
  for (int64_t o = 0; o < shape_.out; ++o) {
    for (int64_t r = 0; r < phase.tap_rows; ++r) {
      for (int64_t c = 0; c < phase.tap_columns; ++c) {
        const int64_t tap = rows[static_cast<size_t>(r)] * shape_.kernel + columns[static_cast<size_t>(c)];
        const int8_t* from = weights.values.data() + (o * shape_.kernel * shape_.kernel + tap) * shape_.in;
        int8_t* to = phase.packed.data() + (o / int8::kBlock * phase.tap_rows + r) * row_bytes;
        for (int64_t i = 0; i < shape_.in; ++i) {
          const int64_t at = c * pixel + i;
          to[at / 4 * int8::kBlock * 4 + o % int8::kBlock * 4 + at % 4] = from[i];
        }
      }
    }
  }
}

int64_t Int8Conv::out_h(int64_t h) const {
  return shape_.transposed ? 2 * h : (h + 2 * shape_.pad - shape_.kernel) / shape_.stride + 1;
}
int64_t Int8Conv::out_w(int64_t w) const { return out_h(w); }

size_t Int8Conv::weight_bytes() const {
  size_t bytes = bias_.size() * sizeof(int32_t) + 4 * scale_.size() * sizeof(float);
  for (const Phase& phase : phases_) bytes += phase.packed.size();
  return bytes;
}

double Int8Conv::multiplications(const Int8Layout& in) const {
  const int64_t pixels = shape_.transposed ? in.h * in.w : out_h(in.h) * out_w(in.w);
  return static_cast<double>(in.n * pixels * shape_.in * shape_.out * shape_.kernel * shape_.kernel);
}

Int8Conv::Division Int8Conv::division(const Int8Layout& in) const {
  // A piece has about this many multiplications, which take 15 to 40 microseconds: much more than handing it out, and
  // little enough that no thread waits long for the last piece.
  constexpr int64_t kPiece = 8 << 20;
  // If the weights of all blocks fit into the L2 cache, a piece computes all output channels of its rows. Otherwise it
  // computes one block, and the pieces of one block follow each other.
  constexpr int64_t kCachedWeights = 256 << 10;
  const Phase& phase = phases_.front();
  const int64_t blocks = ceil_div(shape_.out, int8::kBlock);
  const int64_t rows = shape_.transposed ? in.h : out_h(in.h), columns = shape_.transposed ? in.w : out_w(in.w);
  Division d;
  d.block_pieces = static_cast<int64_t>(phase.packed.size()) > kCachedWeights ? blocks : 1;
  const int64_t per_row = columns * phase.tap_rows * phase.tap_columns * shape_.in * shape_.out / d.block_pieces;
  d.rows_per_piece = std::clamp<int64_t>(ceil_div(kPiece, std::max<int64_t>(per_row, 1)), 1, rows);
  d.row_pieces = ceil_div(rows, d.rows_per_piece);
  d.rows_per_piece = ceil_div(rows, d.row_pieces);
  d.row_pieces = ceil_div(rows, d.rows_per_piece);
  return d;
}

int64_t Int8Conv::pieces(const Int8Layout& in) const {
  const Division d = division(in);
  return static_cast<int64_t>(phases_.size()) * d.block_pieces * in.n * d.row_pieces;
}

int8::Problem Int8Conv::problem(const Call& call, const Phase& phase) const {
  const Int8Layout& in = call.in;
  const Int8Layout out{in.n, out_h(in.h), out_w(in.w), shape_.out};
  const int64_t every = shape_.transposed ? 2 : 1, stride = shape_.transposed ? 1 : shape_.stride;
  int8::Problem p;
  p.x = call.x + in.first() + phase.first_row * in.row() + phase.first_column * in.pixel();
  p.image_step = in.image();
  p.row_step = stride * in.row();
  p.pixel_step = stride * in.pixel();
  p.tap_rows = phase.tap_rows;
  p.tap_row_step = in.row();
  p.steps = phase.tap_columns * in.pixel() / 4;
  p.out_h = out.h / every;
  p.out_w = out.w / every;
  p.k = shape_.out;
  p.in_h = in.h;
  p.row_stride = stride;
  p.first_row = phase.first_row;
  p.weights = phase.packed.data();
  p.bias = bias_.data();
  p.scale = scale_.data();
  p.relu = call.relu;
  p.add_scale = add_scale_.data();
  p.silu = silu_;
  p.silu_scale = silu_scale_.data();
  p.silu_offset = silu_offset_.data();
  if (in_zero_ != 0) {
    constexpr int64_t kNoEnd = int64_t{1} << 40;
    p.in_h = kNoEnd;
    p.first_row = 0;
  }
  if (call.y_u8 != nullptr) {
    const int64_t first = out.first() + phase.out_row * out.row() + phase.out_column * out.pixel();
    p.out_image = out.image();
    p.out_row = every * out.row();
    p.out_pixel = every * out.pixel();
    p.y_u8 = call.y_u8 + first;
    if (call.add_u8 != nullptr) p.add_u8 = call.add_u8 + first;
  } else {
    p.out_image = out.h * out.w * out.c;
    p.out_row = every * out.w * out.c;
    p.out_pixel = every * out.c;
    p.y_f32 = call.y_f32 + (phase.out_row * out.w + phase.out_column) * out.c;
  }
  p.add_f32 = call.add_f32;
  return p;
}

void Int8Conv::run(const Call& call, int64_t piece, int8::Path path) const {
  const Division d = division(call.in);
  const int64_t rows = piece % d.row_pieces, image = piece / d.row_pieces % call.in.n,
                group = piece / d.row_pieces / call.in.n % d.block_pieces,
                phase = piece / d.row_pieces / call.in.n / d.block_pieces;
  const int8::Problem p = problem(call, phases_[static_cast<size_t>(phase)]);
  const int64_t first = rows * d.rows_per_piece, last = std::min(p.out_h, first + d.rows_per_piece);
  const int64_t blocks = p.blocks() / d.block_pieces;
  const int8::Loop loop = int8::loop_of(path);
  for (int64_t b = group * blocks; b < (group + 1) * blocks; ++b) loop(p, image, first, last, b);
}

void Int8Conv::run_all(const Call& call, int8::Path path) const {
  const int64_t count = pieces(call.in);
#pragma omp parallel for schedule(dynamic) if (count > 1)
  for (int64_t i = 0; i < count; ++i) run(call, i, path);
}

}  // namespace hr
