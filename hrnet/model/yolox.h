// YOLOX (Ge et al., 2021), the detector, for inference: sizes nano, tiny, s, m, l and x as the official code builds
// them; entry names are its state dict's. Batch norm is folded into the convolutions when weights are loaded.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/context.h"
#include "nn/parameters.h"
#include "nn/weights.h"
#include "ops/conv/backend.h"

namespace hr {

// Everything that tells one YOLOX from another. The official code calls stem / 64 the width and depth / 3 the depth.
struct YoloxShape {
  int stem = 32;  // channels of the stem
  int depth = 1;  // bottlenecks of the first stage; later stages have 3 * depth, 3 * depth, depth, the neck depth
  bool depthwise = false;  // 3x3 convolutions are depthwise ones and 1x1 ones (nano)
  int classes = 80;
  bool operator==(const YoloxShape&) const = default;
};

// "yolox_nano", "yolox_tiny", "yolox_s", "yolox_m", "yolox_l", "yolox_x"; of other shapes "yolox_c8_d1" (stem, depth)
// or "yolox_c8_d1_depthwise".
std::string yolox_name(const YoloxShape& shape);
// The official name's shape; nullopt for any other name.
std::optional<YoloxShape> yolox_shape(std::string_view name, int classes = 80);

// What the pictures for a network have to be. Weights of the first generation (0.1.0, which ByteTrack trained from)
// want RGB normalised by ImageNet's mean and deviation, all later ones BGR from 0 to 255.
enum class YoloxInput { bgr_255, rgb_normalised };

// What a weight file says of itself.
struct YoloxInfo {
  YoloxShape shape;
  // The mean size of the stem's weights with batch norm folded in. Numbers up to 255 need weights of about 0.005,
  // normalised ones of about 0.30; nothing else in the file tells the generations apart.
  double stem_size = 0;
  YoloxInput input() const { return stem_size < 0.04 ? YoloxInput::bgr_255 : YoloxInput::rgb_normalised; }
  std::string describe() const;  // "yolox_s, a detector of 80 classes"
};
// nullopt: the file holds no YOLOX in the official layout. Throws Error if its sizes make no sense.
std::optional<YoloxInfo> yolox_info(const WeightFile& file);

class Yolox {
 public:
  // Names and shapes only, no memory.
  explicit Yolox(const YoloxShape& shape);
  ~Yolox();
  Yolox(const Yolox&) = delete;
  Yolox& operator=(const Yolox&) = delete;

  // Strict: every entry of the state dict, no other. Throws Error with the differences; nothing is changed then.
  void load(const Context& cx, const WeightFile& file);

  // images [N, H, W, 3] f32, H and W multiples of 32, in what the weights want -> [N, A, 5 + classes] f32: box (x, y,
  // log w, log h, relative to the cell, not decoded), sigmoid of objectness, sigmoids of classes. Rows are cells in
  // row-major order of the strides 8, 16 and 32. Throws Error if no weights are loaded.
  Tensor forward(Context& cx, const Tensor& images) const;

  static int64_t anchors(int64_t h, int64_t w) { return h * w / 64 + h * w / 256 + h * w / 1024; }

  // The filters that forward() hands to convolutions, by Tensor::id(), and the modules of the state dict that they were
  // made from: what a trace of forward() (ops/trace.h) needs to be understood. Valid until load() is called again.
  struct Filter {
    uint64_t id = 0;
    std::vector<std::string> modules;  // "head.reg_preds.0"; several: their output channels follow each other
    std::string norm;                  // the batch norm that is folded in; empty: none
    bool over_blocks = false;  // the stem: 3x3 over blocks of 2x2 pixels in the state dict, 6x6 over pixels here
  };
  std::vector<Filter> filters() const;
  static constexpr double kBatchNormEpsilon = 1e-3;

  const YoloxShape& shape() const { return shape_; }
  const std::string& name() const { return name_; }
  const ParameterStore& layout() const { return layout_; }  // entries without memory

 private:
  struct Conv;
  struct Unit;
  struct Csp;
  struct Head;

  Conv* add_conv(const std::string& name, int64_t in, int64_t out, int kernel, int stride, bool depthwise);
  Unit make_unit(const std::string& name, int64_t in, int64_t out, int kernel, int stride);
  Csp make_csp(const std::string& name, int64_t in, int64_t out, int blocks, bool shortcut);

  YoloxShape shape_;
  std::string name_;
  ParameterStore layout_;
  bool loaded_ = false;
  struct Network;
  std::unique_ptr<Network> net_;
};

// The network of a file, with its weights. asked: a name that the file must be of; empty: any.
std::unique_ptr<Yolox> load_yolox(const Context& cx, const WeightFile& file, const std::string& asked = {});

}  // namespace hr
