// YOLOX (Ge et al., 2021), a detector, for inference only: the sizes nano, tiny, s, m, l and x, built like the official
// code, with the names of its state dict. Batch norm is folded into the convolutions when the weights are loaded.
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

// The properties that tell one YOLOX from another. The official code calls stem / 64 the width and depth / 3 the depth.
struct YoloxShape {
  int stem = 32;           // Channels of the stem.
  int depth = 1;           // Bottlenecks of dark2; dark3 and dark4 have 3 * depth, dark5 and the neck have depth.
  bool depthwise = false;  // 3x3 convolutions are a depthwise and a 1x1 one (nano)
  int classes = 80;
  bool operator==(const YoloxShape&) const = default;
};

// "yolox_nano", "yolox_tiny", "yolox_s", "yolox_m", "yolox_l" or "yolox_x". Other shapes are called by stem and depth:
// "yolox_c8_d1" or "yolox_c8_d1_depthwise".
std::string yolox_name(const YoloxShape& shape);
// The shape of an official name; nullopt for any other name.
std::optional<YoloxShape> yolox_shape(std::string_view name, int classes = 80);

// The pixel values that a network expects. Weights of the first generation (0.1.0, from which ByteTrack was trained)
// expect RGB normalised with ImageNet's mean and deviation, all later ones BGR from 0 to 255.
enum class YoloxInput { bgr_255, rgb_normalised };

// The network that a weight file holds.
struct YoloxInfo {
  YoloxShape shape;
  // Mean absolute weight of the stem, with batch norm folded in. Input values up to 255 need weights of about 0.005,
  // normalised ones of about 0.30. Nothing else in the file tells the generations apart.
  double stem_size = 0;
  YoloxInput input() const { return stem_size < 0.04 ? YoloxInput::bgr_255 : YoloxInput::rgb_normalised; }
  std::string describe() const;  // "yolox_s, a detector of 80 classes"
};
// Returns nullopt if the file holds no YOLOX in the official layout. Throws Error if its sizes are impossible.
std::optional<YoloxInfo> yolox_info(const WeightFile& file);

class Yolox {
 public:
  // Declares names and shapes of the parameters; load() brings the memory.
  explicit Yolox(const YoloxShape& shape);
  ~Yolox();
  Yolox(const Yolox&) = delete;
  Yolox& operator=(const Yolox&) = delete;

  // Loads all entries of the state dict. Throws Error with the differences if the file lacks an entry or has another
  // one; then nothing is changed.
  void load(const Context& cx, const WeightFile& file);

  // images [N, H, W, 3] f32, pixel values as the weights expect them (YoloxInfo::input) -> [N, A, 5 + classes] f32: the
  // undecoded box (x, y, log w, log h, relative to the cell), the sigmoid of the objectness, and the sigmoids of the
  // classes. The A rows are the cells of the strides 8, 16 and 32, in row-major order. Not thread-safe. Throws Error if
  // no weights are loaded or if H or W is not a multiple of 32.
  Tensor forward(Context& cx, const Tensor& images) const;
  // Writes the result to `table`. Throws Error if it has another shape or type, too.
  void forward(Context& cx, const Tensor& images, const Tensor& table) const;

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
  const ParameterStore& layout() const { return layout_; }  // Entries without memory, for comparing with a file.

 private:
  void check_images(const Tensor& images) const;
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

// Builds the network of a file and loads its weights. Throws Error if the file holds no YOLOX, or another one than
// `asked`, a name of yolox_name(); an empty name allows any.
std::unique_ptr<Yolox> load_yolox(const Context& cx, const WeightFile& file, const std::string& asked = {});

}  // namespace hr
