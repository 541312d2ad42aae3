#include "hrnet/export/onnx_decode.h"

#include <limits>

#include "core/error.h"

namespace hr {
namespace {

using Ints = std::vector<int64_t>;
constexpr int64_t kFloat = 1;  // ONNX uses this number for float32.

class Joints {
 public:
  Joints(OnnxBuilder& builder, int h, int w) : b_(builder), h_(h), w_(w) {}

  void operator()(const std::string& heatmaps, int stride, Codec codec) {
    // The heatmaps become [N, joints, h w]. The first of equal maxima counts.
    flat_ = b_.node("Reshape", {heatmaps, b_.constant({0, 0, -1})});
    const std::string scores = b_.node("ReduceMax", {flat_}, {{"axes", Ints{2}}, {"keepdims", int64_t{1}}});
    index_ = b_.node("ArgMax", {flat_}, {{"axis", int64_t{2}}, {"keepdims", int64_t{1}}});
    const std::string found = b_.node("Greater", {scores, b_.scalar(0.0F)});
    const float nowhere = codec == Codec::msra ? -1.0F : 0.0F;
    const auto place = [&](const char* op) {
      const std::string whole = b_.node(op, {index_, b_.scalar(int64_t{w_})});
      return b_.node("Where", {found, b_.node("Cast", {whole}, {{"to", kFloat}}), b_.scalar(nowhere)});
    };
    std::string x = place("Mod"), y = place("Div");
    if (codec != Codec::argmax) {
      // Peaks away from the borders move a quarter of a pixel towards the larger neighbour.
      const std::string inside_x = inside(x, w_), inside_y = inside(y, h_);
      const auto both = [&](const std::string& a, const std::string& b) { return b_.node("And", {a, b}); };
      const auto after = [&](const std::string& v) { return b_.node("Greater", {v, b_.scalar(0.0F)}); };
      const bool quarter = codec == Codec::quarter;
      const std::string move_x = both(inside_x, quarter ? inside_y : after(y));
      const std::string move_y = quarter ? move_x : both(inside_y, after(x));
      const std::string step_x = step(move_x, 1), step_y = step(move_y, w_);
      x = b_.node("Add", {x, step_x});
      y = b_.node("Add", {y, step_y});
    }
    const std::string places = b_.node("Concat", {x, y}, {{"axis", int64_t{2}}});  // [N, joints, 2]
    b_.rename(b_.node("Mul", {places, b_.scalar(static_cast<float>(stride))}), "joints");
    b_.rename(b_.node("Reshape", {scores, b_.constant({0, 0})}), "scores");
  }

 private:
  // Computes 1 < v < size - 1.
  std::string inside(const std::string& v, int64_t size) {
    return b_.node("And", {b_.node("Greater", {v, b_.scalar(1.0F)}),
                           b_.node("Less", {v, b_.scalar(static_cast<float>(size - 1))})});
  }

  // Returns the number that lies `offset` pixels further on. At a border it wraps around to the other end, but there it
  // is not used.
  std::string neighbour(int64_t offset) {
    const std::string at = b_.node("Mod", {b_.node("Add", {index_, b_.scalar(offset)}), b_.scalar(int64_t{h_} * w_)});
    return b_.node("GatherElements", {flat_, at}, {{"axis", int64_t{2}}});
  }

  std::string step(const std::string& moves, int64_t offset) {
    const std::string sign = b_.node("Sign", {b_.node("Sub", {neighbour(offset), neighbour(-offset)})});
    return b_.node("Where", {moves, b_.node("Mul", {sign, b_.scalar(0.25F)}), b_.scalar(0.0F)});
  }

  OnnxBuilder& b_;
  int64_t h_, w_;
  std::string flat_, index_;
};

}  // namespace

void add_joints(OnnxBuilder& builder, const std::string& heatmaps, int h, int w, int stride, Codec codec) {
  check_field(
      codec == Codec::argmax || codec == Codec::quarter || codec == Codec::msra, "decode",
      "is written for the codecs argmax, quarter and msra, and this network learnt {}; export its heatmaps, and "
      "decode them outside",
      codec_name(codec));
  Joints(builder, h, w)(heatmaps, stride, codec);
}

std::string add_boxes(OnnxBuilder& builder, const std::string& table, int h, int w) {
  std::vector<float> cells, strides;  // Each row has the x and y of its cell, and the size of the cell in pixels.
  for (const int stride : {8, 16, 32}) {
    for (int y = 0; y < h / stride; ++y) {
      for (int x = 0; x < w / stride; ++x) {
        cells.push_back(static_cast<float>(x));
        cells.push_back(static_cast<float>(y));
        strides.push_back(static_cast<float>(stride));
      }
    }
  }
  const auto rows = static_cast<int64_t>(strides.size());
  const std::string cell = builder.floats("cells", {1, rows, 2}, std::move(cells));
  const std::string size = builder.floats("strides", {1, rows, 1}, std::move(strides));
  const auto columns = [&](int64_t from, int64_t to) {
    return builder.node("Slice", {table, builder.constant({from}), builder.constant({to}), builder.constant({2}),
                                  builder.constant({1})});
  };
  const std::string centre = builder.node("Mul", {builder.node("Add", {columns(0, 2), cell}), size});
  const std::string extent = builder.node("Mul", {builder.node("Exp", {columns(2, 4)}), size});
  constexpr int64_t end = std::numeric_limits<int32_t>::max();
  return builder.node("Concat", {centre, extent, columns(4, end)}, {{"axis", int64_t{2}}});
}

}  // namespace hr
