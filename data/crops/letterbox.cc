#include "data/crops/letterbox.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"

namespace hr {
namespace {

constexpr int kOne = 2048;  // OpenCV's INTER_RESIZE_COEF_SCALE.

// The two source positions of each destination position along one axis, and their weights. Beyond the first and the
// last position OpenCV gives columns a single weight of 1, but lines two weights of the same line, which are rounded
// separately.
struct Tap {
  int from = 0, next = 0;
  int weight_from = kOne, weight_next = 0;
};
std::vector<Tap> taps(int source, int destination, bool columns) {
  const double scale = 1.0 / (static_cast<double>(destination) / source);
  std::vector<Tap> list(static_cast<size_t>(destination));
  for (int i = 0; i < destination; ++i) {
    auto fraction = static_cast<float>((i + 0.5) * scale - 0.5);
    int at = static_cast<int>(std::floor(fraction));
    fraction -= static_cast<float>(at);
    if (columns && (at < 0 || at >= source - 1)) fraction = 0;
    const auto inside = [source](int position) { return std::clamp(position, 0, source - 1); };
    list[i] = {inside(at), inside(at + 1), static_cast<int>(std::lrint((1.0F - fraction) * kOne)),
               static_cast<int>(std::lrint(fraction * kOne))};
  }
  return list;
}

Image halved(const ImageView& source) {
  Image out(source.width / 2, source.height / 2);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const uint8_t* a = source.at(2 * x, 2 * y);
      const uint8_t* b = source.at(2 * x, 2 * y + 1);
      for (int c = 0; c < 3; ++c) out.at(x, y)[c] = static_cast<uint8_t>((a[c] + a[c + 3] + b[c] + b[c + 3] + 2) >> 2);
    }
  }
  return out;
}

// Makes the lines [begin, end) of `out`. `scratch` holds two of its lines.
void resize_lines(const ImageView& source, const std::vector<Tap>& columns, const std::vector<Tap>& lines, int begin,
                  int end, std::span<int> scratch, Image& out) {
  const int w = out.width;
  // Lines of the source scaled along x, with 11 bits of fraction. Each line is made once.
  int* rows[2] = {scratch.data(), scratch.data() + scratch.size() / 2};
  int holds[2] = {-1, -1};
  const auto scaled = [&](int line, int keep) -> const int* {
    for (int i = 0; i < 2; ++i) {
      if (holds[i] == line) return rows[i];
    }
    const int i = holds[0] == keep ? 1 : 0;
    holds[i] = line;
    const uint8_t* from = source.at(0, line);
    int* to = rows[i];
    for (int x = 0; x < w; ++x, to += 3) {
      const Tap& t = columns[x];
      const uint8_t *a = from + 3 * t.from, *b = from + 3 * t.next;
      for (int c = 0; c < 3; ++c) to[c] = a[c] * t.weight_from + b[c] * t.weight_next;
    }
    return rows[i];
  };
  for (int y = begin; y < end; ++y) {
    const Tap& t = lines[y];
    const int* a = scaled(t.from, t.next);
    const int* b = scaled(t.next, t.from);
    uint8_t* to = out.at(0, y);
    for (int i = 0; i < 3 * w; ++i) {
      const int sum = ((t.weight_from * (a[i] >> 4)) >> 16) + ((t.weight_next * (b[i] >> 4)) >> 16);
      to[i] = static_cast<uint8_t>(std::clamp((sum + 2) >> 2, 0, 255));
    }
  }
}

}  // namespace

Image resized_bilinear(const ImageView& source, int w, int h) {
  check(w > 0 && h > 0 && source.width > 0 && source.height > 0, "resize: {} x {} pixels cannot be resized to {} x {}",
        source.width, source.height, w, h);
  check(source.region.contains({0, 0, source.width, source.height}), "resize: a part of the picture is missing");
  if (source.width == 2 * w && source.height == 2 * h) return halved(source);
  Image out(w, h);
  if (source.width == w && source.height == h) {
    for (int y = 0; y < h; ++y) std::copy_n(source.at(0, y), static_cast<size_t>(w) * 3, out.at(0, y));
    return out;
  }
  const std::vector<Tap> columns = taps(source.width, w, true), lines = taps(source.height, h, false);
  constexpr int kBand = 32;  // Lines that one thread makes.
  const int bands = (h + kBand - 1) / kBand;
  const size_t each = static_cast<size_t>(w) * 6;
  std::vector<int> scratch(each * static_cast<size_t>(bands));
  parallel_for(bands, int64_t{3} * w * h, [&](int64_t band) {
    const int begin = static_cast<int>(band) * kBand;
    resize_lines(source, columns, lines, begin, std::min(h, begin + kBand),
                 std::span(scratch).subspan(each * static_cast<size_t>(band), each), out);
  });
  return out;
}

Letterbox letterbox_for(int picture_w, int picture_h, int canvas_w, int canvas_h) {
  check(picture_w > 0 && picture_h > 0, "a picture of {} x {} pixels cannot be scaled", picture_w, picture_h);
  Letterbox box;
  box.scale = std::min(static_cast<double>(canvas_h) / picture_h, static_cast<double>(canvas_w) / picture_w);
  box.inner_w = std::clamp(static_cast<int>(picture_w * box.scale), 1, canvas_w);
  box.inner_h = std::clamp(static_cast<int>(picture_h * box.scale), 1, canvas_h);
  return box;
}

}  // namespace hr
