#include "hrnet/model/yolox.h"

#include <array>
#include <cmath>
#include <deque>

#include "core/error.h"
#include "hrnet/model/load.h"
#include "nn/layers.h"
#include "nn/state_dict.h"
#include "ops/concat.h"
#include "ops/conv/conv2d.h"
#include "ops/conv/depthwise_conv2d.h"
#include "ops/elementwise.h"
#include "ops/max_pool2d.h"

namespace hr {
namespace {

struct Named {
  std::string_view name;
  int stem, depth;
  bool depthwise;
};
constexpr std::array<Named, 6> kSizes = {{{"yolox_nano", 16, 1, true},
                                          {"yolox_tiny", 24, 1, false},
                                          {"yolox_s", 32, 1, false},
                                          {"yolox_m", 48, 2, false},
                                          {"yolox_l", 64, 3, false},
                                          {"yolox_x", 80, 4, false}}};

constexpr double kNormalisedStem = 0.3;  // YoloxInfo::stem_size of networks with normalised input.
constexpr const char* kStem = "backbone.backbone.stem.conv";

// Batch norm of one convolution as scale and shift per output channel.
struct Affine {
  std::vector<double> scale, shift;
};
Affine batch_norm_of(const WeightFile& file, const std::string& name) {
  const auto numbers = [&](const char* part) { return file.at(name + part).to_f32(); };
  const std::vector<float> weight = numbers(".weight"), bias = numbers(".bias"), mean = numbers(".running_mean"),
                           variance = numbers(".running_var");
  Affine a;
  for (size_t c = 0; c < weight.size(); ++c) {
    const double scale = weight[c] / std::sqrt(static_cast<double>(variance[c]) + Yolox::kBatchNormEpsilon);
    a.scale.push_back(scale);
    a.shift.push_back(bias[c] - mean[c] * scale);
  }
  return a;
}

Tensor on_device(const Context& cx, Shape shape, const std::vector<float>& numbers) {
  Tensor t = cx.empty(std::move(shape), DType::f32);
  cx.upload(t, std::as_bytes(std::span(numbers)));
  return t;
}

// Converts torch's [O, I, kh, kw] to [O, kh, kw, I].
std::vector<float> channels_last(const std::vector<float>& w, int64_t out, int64_t in, int64_t taps) {
  std::vector<float> ours(w.size());
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t i = 0; i < in; ++i) {
      for (int64_t t = 0; t < taps; ++t) ours[(o * taps + t) * in + i] = w[(o * in + i) * taps + t];
    }
  }
  return ours;
}

// Converts the stem's filter. The official stem first collects the pixels of each 2x2 block into 12 channels: the
// pixels (y, x) = (0, 0), (1, 0), (0, 1), (1, 1) with 3 colours each. Its 3x3 convolution over blocks, filter [O, 3, 3,
// 12], is the same as a 6x6 convolution of stride 2 over pixels, filter [O, 6, 6, 3].
std::vector<float> stem_over_pixels(const std::vector<float>& w, int64_t out) {
  std::vector<float> pixels(w.size());
  for (int64_t o = 0; o < out; ++o) {
    for (int y = 0; y < 6; ++y) {
      for (int x = 0; x < 6; ++x) {
        const int of_block = y % 2 + 2 * (x % 2);
        for (int c = 0; c < 3; ++c) {
          pixels[((o * 6 + y) * 6 + x) * 3 + c] = w[((o * 3 + y / 2) * 3 + x / 2) * 12 + of_block * 3 + c];
        }
      }
    }
  }
  return pixels;
}

}  // namespace

std::string yolox_name(const YoloxShape& s) {
  for (const Named& size : kSizes) {
    if (size.stem == s.stem && size.depth == s.depth && size.depthwise == s.depthwise) return std::string(size.name);
  }
  return fmt::format("yolox_c{}_d{}{}", s.stem, s.depth, s.depthwise ? "_depthwise" : "");
}

std::optional<YoloxShape> yolox_shape(std::string_view name, int classes) {
  for (const Named& size : kSizes) {
    if (size.name == name) return YoloxShape{size.stem, size.depth, size.depthwise, classes};
  }
  return std::nullopt;
}

std::string YoloxInfo::describe() const {
  return fmt::format("{}, a detector of {} {}", yolox_name(shape), shape.classes,
                     shape.classes == 1 ? "class" : "classes");
}

std::optional<YoloxInfo> yolox_info(const WeightFile& file) {
  const std::string filter_name = fmt::format("{}.conv.weight", kStem);
  const ArrayView* stem = file.find(filter_name);
  const ArrayView* classes = file.find("head.cls_preds.0.weight");
  if (stem == nullptr || classes == nullptr || stem->shape.size() != 4 || classes->shape.size() != 4)
    return std::nullopt;
  constexpr int64_t kMaxStem = 1024, kMaxClasses = 10'000, kMaxDepth = 100;
  const auto within = [&](const char* what, int64_t value, int64_t most) {
    check(value >= 1 && value <= most, "{}: a YOLOX with {} = {}; expected 1 to {}", file.path().string(), what, value,
          most);
    return static_cast<int>(value);
  };
  YoloxInfo info;
  info.shape.stem = within("stem channels", stem->shape[0], kMaxStem);
  info.shape.classes = within("classes", classes->shape[0], kMaxClasses);
  info.shape.depthwise = file.contains("backbone.backbone.dark2.0.dconv.conv.weight");
  int64_t depth = 0;
  while (depth <= kMaxDepth && file.contains(fmt::format("backbone.backbone.dark2.1.m.{}.conv1.conv.weight", depth)))
    ++depth;
  info.shape.depth = within("bottlenecks of dark2", depth, kMaxDepth);
  // In a file of 8-bit weights batch norm is folded in, and the metadata tells the input (hrnet/int8/file.h).
  if (const auto input = file.metadata().find("input"); input != file.metadata().end() && is_int8(file)) {
    info.stem_size = input->second == "rgb_normalised" ? kNormalisedStem : 0;
    return info;
  }
  // A file without the stem's batch norm is refused later, when it is loaded.
  for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) {
    const ArrayView* array = file.find(std::string(kStem) + ".bn" + part);
    if (array == nullptr || array->shape != Shape{info.shape.stem}) return info;
  }
  const std::vector<float> w = stem->to_f32();
  const Affine norm = batch_norm_of(file, std::string(kStem) + ".bn");
  const size_t each = w.size() / static_cast<size_t>(info.shape.stem);
  for (size_t i = 0; i < w.size(); ++i) info.stem_size += std::abs(w[i] * norm.scale[i / each]);
  info.stem_size /= static_cast<double>(w.size());
  return info;
}

// Convolution, batch norm and SiLU: "BaseConv" of the official code.
struct Yolox::Conv {
  std::string name;
  int64_t in, out;
  int kernel, stride;
  bool depthwise, stem;
  Tensor filter, bias;  // With batch norm folded in.
  mutable PackedFilters packed;

  void load(const Context& cx, const WeightFile& file) {
    std::vector<float> w = file.at(name + ".conv.weight").to_f32();
    const Affine norm = batch_norm_of(file, name + ".bn");
    const int64_t each = static_cast<int64_t>(w.size()) / out;
    for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(w[i] * norm.scale[i / each]);
    const int64_t taps = int64_t{kernel} * kernel;
    if (depthwise) {
      // [C, 1, k, k] -> [k, k, C]
      std::vector<float> by_tap(w.size());
      for (int64_t c = 0; c < out; ++c) {
        for (int64_t t = 0; t < taps; ++t) by_tap[t * out + c] = w[c * taps + t];
      }
      filter = on_device(cx, {kernel, kernel, out}, by_tap);
    } else if (stem) {
      filter = on_device(cx, {out, 6, 6, 3}, stem_over_pixels(channels_last(w, out, in, taps), out));
    } else {
      filter = on_device(cx, {out, kernel, kernel, in}, channels_last(w, out, in, taps));
    }
    bias = on_device(cx, {out}, {norm.shift.begin(), norm.shift.end()});
    packed = {.allocator = cx.allocator};
  }

  // [N, H, W, in] -> [N, H', W', out]; `add` is added after the SiLU.
  Tensor operator()(Context& cx, const Tensor& x, const Tensor* add = nullptr) const {
    if (depthwise) {
      return depthwise_conv2d(cx, x, filter, {.stride = stride, .pad = kernel / 2, .bias = &bias, .silu = true});
    }
    return conv2d(cx, x, filter,
                  {.stride = stem ? 2 : stride,
                   .pad = stem ? 2 : kernel / 2,
                   .bias = &bias,
                   .add = add,
                   .silu = true,
                   .packed = &packed});
  }
  // The same for the concatenation of several inputs; the convolution is 1x1.
  Tensor operator()(Context& cx, std::initializer_list<ConcatTerm> terms) const {
    return conv2d(cx, std::span(terms), filter, {.bias = &bias, .silu = true, .packed = &packed});
  }
};

// A convolution of any size. In the nano network it is a depthwise convolution followed by a 1x1 one.
struct Yolox::Unit {
  const Conv *first = nullptr, *second = nullptr;  // `second` is null except in the nano network.

  Tensor operator()(Context& cx, const Tensor& x, const Tensor* add = nullptr) const {
    return second == nullptr ? (*first)(cx, x, add) : (*second)(cx, (*first)(cx, x), add);
  }
};

// y = conv3(concat(bottlenecks(conv1(x)), conv2(x))). A bottleneck is conv3x3(conv1x1(a)), plus a with `shortcut`.
struct Yolox::Csp {
  const Conv *conv1, *conv2, *conv3;
  struct Bottleneck {
    const Conv* conv1;
    Unit conv2;
  };
  std::vector<Bottleneck> blocks;
  bool shortcut;

  Tensor operator()(Context& cx, std::initializer_list<ConcatTerm> x) const {
    // Two convolutions read x. If they cannot read the parts of x from their places, x is joined once for both.
    if (x.size() > 1 && !joins_terms(cx, x)) {
      const Tensor joined = concat(cx, x);
      return (*this)(cx, {ConcatTerm{joined}});
    }
    Tensor a = (*conv1)(cx, x);
    for (const Bottleneck& block : blocks) a = block.conv2(cx, (*block.conv1)(cx, a), shortcut ? &a : nullptr);
    const Tensor b = (*conv2)(cx, x);
    return (*conv3)(cx, {ConcatTerm{a}, ConcatTerm{b}});
  }
};

// The head of one level.
struct Yolox::Head {
  const Conv* stem;
  std::array<Unit, 2> cls_convs, reg_convs;
  Tensor cls_filter, cls_bias, box_filter, box_bias;  // box: the 4 channels of reg_preds and the one of obj_preds.
  mutable PackedFilters cls_packed, box_packed;

  void load(const Context& cx, const WeightFile& file, int level) {
    const auto numbers = [&](const char* part, const char* kind) {
      return file.at(fmt::format("head.{}_preds.{}.{}", part, level, kind)).to_f32();
    };
    const auto both = [&](const char* kind) {
      std::vector<float> box = numbers("reg", kind);
      const std::vector<float> object = numbers("obj", kind);
      box.insert(box.end(), object.begin(), object.end());
      return box;
    };
    const std::vector<float> cls = numbers("cls", "bias");
    const auto classes = static_cast<int64_t>(cls.size()), in = stem->out;
    // For 1x1 filters torch's order is ours.
    cls_filter = on_device(cx, {classes, 1, 1, in}, numbers("cls", "weight"));
    cls_bias = on_device(cx, {classes}, cls);
    box_filter = on_device(cx, {5, 1, 1, in}, both("weight"));
    box_bias = on_device(cx, {5}, both("bias"));
    cls_packed = {.allocator = cx.allocator};
    box_packed = {.allocator = cx.allocator};
  }

  void operator()(Context& cx, const Tensor& x, const Tensor& table, int64_t first_row) const {
    const Tensor y = (*stem)(cx, x);
    const auto last = [&](const std::array<Unit, 2>& convs, const Tensor& filter, const Tensor& bias,
                          PackedFilters& packed) {
      return conv2d(cx, convs[1](cx, convs[0](cx, y)), filter, {.bias = &bias, .packed = &packed, .f32_output = true});
    };
    put_pixels(cx, last(cls_convs, cls_filter, cls_bias, cls_packed), table,
               {.first_row = first_row, .first_column = 5});
    put_pixels(cx, last(reg_convs, box_filter, box_bias, box_packed), table, {.first_row = first_row, .plain = 4});
  }
};

struct Yolox::Network {
  std::deque<Conv> convs;  // All convolutions named below, in the order of the state dict.
  const Conv* stem;
  std::array<Unit, 4> down;  // Downsampling into dark2 to dark5.
  std::array<Csp, 4> dark;
  const Conv *spp_in, *spp_out;
  const Conv *lateral, *reduce;
  Csp top_down_p4, top_down_p3, bottom_up_p4, bottom_up_p5;
  Unit bottom_up_2, bottom_up_1;
  std::array<Head, 3> heads;
};

Yolox::Conv* Yolox::add_conv(const std::string& name, int64_t in, int64_t out, int kernel, int stride, bool depthwise) {
  const Shape filter{out, depthwise ? 1 : in, kernel, kernel};
  layout_.add_parameter(name + ".conv.weight", filter, ParameterLayout::filter, 0, 0);
  const BatchNorm norm(layout_, name + ".bn", out);
  return &net_->convs.emplace_back(Conv{.name = name,
                                        .in = in,
                                        .out = out,
                                        .kernel = kernel,
                                        .stride = stride,
                                        .depthwise = depthwise,
                                        .stem = name == kStem,
                                        .filter = {},
                                        .bias = {},
                                        .packed = {}});
}

Yolox::Unit Yolox::make_unit(const std::string& name, int64_t in, int64_t out, int kernel, int stride) {
  if (!shape_.depthwise) return {add_conv(name, in, out, kernel, stride, false), nullptr};
  const Conv* first = add_conv(name + ".dconv", in, in, kernel, stride, true);
  return {first, add_conv(name + ".pconv", in, out, 1, 1, false)};
}

Yolox::Csp Yolox::make_csp(const std::string& name, int64_t in, int64_t out, int blocks, bool shortcut) {
  const int64_t hidden = out / 2;
  Csp csp{.conv1 = add_conv(name + ".conv1", in, hidden, 1, 1, false),
          .conv2 = add_conv(name + ".conv2", in, hidden, 1, 1, false),
          .conv3 = add_conv(name + ".conv3", 2 * hidden, out, 1, 1, false),
          .blocks = {},
          .shortcut = shortcut};
  for (int i = 0; i < blocks; ++i) {
    const std::string block = fmt::format("{}.m.{}", name, i);
    const Conv* conv1 = add_conv(block + ".conv1", hidden, hidden, 1, 1, false);
    csp.blocks.push_back({conv1, make_unit(block + ".conv2", hidden, hidden, 3, 1)});
  }
  return csp;
}

// PyTorch's state dict lists modules in the order of their construction, so the entries are added in that order.
Yolox::Yolox(const YoloxShape& shape) : shape_(shape), name_(yolox_name(shape)), net_(std::make_unique<Network>()) {
  check(shape.stem >= 1 && shape.depth >= 1 && shape.classes >= 1,
        "a YOLOX of {} stem channels, depth {} and {} classes: expected at least 1 of each", shape.stem, shape.depth,
        shape.classes);
  Network& net = *net_;
  const int64_t b = shape.stem;
  const int n = shape.depth;
  net.stem = add_conv(kStem, 12, b, 3, 1, false);
  for (int i = 0; i < 4; ++i) {
    const std::string name = fmt::format("backbone.backbone.dark{}", i + 2);
    const int64_t in = b << i, out = 2 * in;
    net.down[i] = make_unit(name + ".0", in, out, 3, 2);
    const bool last = i == 3;
    if (last) {
      net.spp_in = add_conv(name + ".1.conv1", out, out / 2, 1, 1, false);
      net.spp_out = add_conv(name + ".1.conv2", out / 2 * 4, out, 1, 1, false);
    }
    net.dark[i] = make_csp(name + (last ? ".2" : ".1"), out, out, i == 0 || last ? n : 3 * n, !last);
  }
  const int64_t p3 = 4 * b, p4 = 8 * b, p5 = 16 * b;
  net.lateral = add_conv("backbone.lateral_conv0", p5, p4, 1, 1, false);
  net.top_down_p4 = make_csp("backbone.C3_p4", 2 * p4, p4, n, false);
  net.reduce = add_conv("backbone.reduce_conv1", p4, p3, 1, 1, false);
  net.top_down_p3 = make_csp("backbone.C3_p3", 2 * p3, p3, n, false);
  net.bottom_up_2 = make_unit("backbone.bu_conv2", p3, p3, 3, 2);
  net.bottom_up_p4 = make_csp("backbone.C3_n3", 2 * p3, p4, n, false);
  net.bottom_up_1 = make_unit("backbone.bu_conv1", p4, p4, 3, 2);
  net.bottom_up_p5 = make_csp("backbone.C3_n4", 2 * p4, p5, n, false);

  const int64_t head = 4 * b;  // Channels of the head.
  for (const bool cls : {true, false}) {
    for (int level = 0; level < 3; ++level) {
      for (int i = 0; i < 2; ++i) {
        Unit& unit = (cls ? net.heads[level].cls_convs : net.heads[level].reg_convs)[i];
        unit = make_unit(fmt::format("head.{}_convs.{}.{}", cls ? "cls" : "reg", level, i), head, head, 3, 1);
      }
    }
  }
  const std::pair<const char*, int64_t> outputs[] = {{"cls", shape.classes}, {"reg", 4}, {"obj", 1}};
  for (const auto& [part, out] : outputs) {
    for (int level = 0; level < 3; ++level) {
      const std::string name = fmt::format("head.{}_preds.{}", part, level);
      layout_.add_parameter(name + ".weight", {out, head, 1, 1}, ParameterLayout::filter, 0, 0);
      layout_.add_parameter(name + ".bias", {out}, ParameterLayout::plain, 0, 0);
    }
  }
  for (int level = 0; level < 3; ++level)
    net.heads[level].stem = add_conv(fmt::format("head.stems.{}", level), p3 << level, head, 1, 1, false);
}

Yolox::~Yolox() = default;

void Yolox::load(const Context& cx, const WeightFile& file) {
  const Fit fit = compare(file, layout_);
  check(fit.exact(), "{}: these weights do not fit {} with {} {}: {}", file.path().string(), name_, shape_.classes,
        shape_.classes == 1 ? "class" : "classes", fit.summary());
  for (Conv& conv : net_->convs) conv.load(cx, file);
  for (int level = 0; level < 3; ++level) net_->heads[level].load(cx, file, level);
  loaded_ = true;
}

std::vector<Yolox::Filter> Yolox::filters() const {
  check(loaded_, "{}: no weights are loaded", name_);
  std::vector<Filter> list;
  for (const Conv& conv : net_->convs)
    list.push_back({conv.filter.id(), {conv.name + ".conv"}, conv.name + ".bn", conv.stem});
  for (int level = 0; level < 3; ++level) {
    const auto module = [&](const char* part) { return fmt::format("head.{}_preds.{}", part, level); };
    const Head& head = net_->heads[level];
    list.push_back({head.cls_filter.id(), {module("cls")}, {}});
    list.push_back({head.box_filter.id(), {module("reg"), module("obj")}, {}});
  }
  return list;
}

Tensor Yolox::forward(Context& cx, const Tensor& images) const {
  check_images(images);
  Tensor table = cx.empty({images.dim(0), anchors(images.dim(1), images.dim(2)), 5 + shape_.classes}, DType::f32);
  forward(cx, images, table);
  return table;
}

void Yolox::check_images(const Tensor& images) const {
  check(loaded_, "{}: no weights are loaded; call load() before forward()", name_);
  check(images.rank() == 4 && images.dim(3) == 3 && images.dtype() == DType::f32,
        "{}: expected images [N, H, W, 3] f32, got {} of {}", name_, to_string(images.shape()),
        name_of(images.dtype()));
  const int64_t h = images.dim(1), w = images.dim(2);
  check(h % 32 == 0 && w % 32 == 0 && h > 0 && w > 0,
        "{}: the input's height and width must be multiples of 32, got {} x {}", name_, h, w);
}

void Yolox::forward(Context& cx, const Tensor& images, const Tensor& table) const {
  check_images(images);
  const Shape expected{images.dim(0), anchors(images.dim(1), images.dim(2)), 5 + shape_.classes};
  check(table.shape() == expected && table.dtype() == DType::f32, "{}: expected a table {} f32, got {} of {}", name_,
        to_string(expected), to_string(table.shape()), name_of(table.dtype()));
  const Network& net = *net_;
  // Under bf16 the nano network, which has about twice as many convolutions in sequence, would be off by up to 7 % of
  // the largest output. So its backbone and heads stay in float32.
  const DType ends = shape_.depthwise ? DType::f32 : cx.precision;
  Tensor y = (*net.stem)(cx, cast(cx, images, ends));  // [N, H/2, W/2, b]
  std::array<Tensor, 3> x;                             // Strides 8, 16, 32.
  for (int i = 0; i < 4; ++i) {
    y = net.down[i](cx, y);
    if (i == 3) {
      // Spatial pyramid pooling: maxima over 5x5, 9x9 and 13x13 windows. 5x5 maxima of 5x5 maxima are 9x9 maxima.
      const MaxPool2d five{.kernel = 5, .stride = 1, .pad = 2};
      const Tensor p1 = (*net.spp_in)(cx, y);
      const Tensor p5 = max_pool2d(cx, p1, five), p9 = max_pool2d(cx, p5, five), p13 = max_pool2d(cx, p9, five);
      y = (*net.spp_out)(cx, {ConcatTerm{p1}, ConcatTerm{p5}, ConcatTerm{p9}, ConcatTerm{p13}});
    }
    y = net.dark[i](cx, {ConcatTerm{y}});
    if (i > 0) x[i - 1] = cast(cx, y, cx.precision);
  }
  const auto joined = [&cx](const Csp& csp, const Tensor& a, int up, const Tensor& b) {
    return csp(cx, {ConcatTerm{a, up}, ConcatTerm{b}});
  };
  const Tensor lateral = (*net.lateral)(cx, x[2]);                                      // [N, H/32, W/32, 8b]
  const Tensor reduced = (*net.reduce)(cx, joined(net.top_down_p4, lateral, 1, x[1]));  // [N, H/16, W/16, 4b]
  x[0] = joined(net.top_down_p3, reduced, 1, x[0]);
  x[1] = joined(net.bottom_up_p4, net.bottom_up_2(cx, x[0]), 0, reduced);
  x[2] = joined(net.bottom_up_p5, net.bottom_up_1(cx, x[1]), 0, lateral);

  int64_t row = 0;
  for (int level = 0; level < 3; ++level) {
    net.heads[level](cx, cast(cx, x[level], ends), table, row);
    row += x[level].dim(1) * x[level].dim(2);
    x[level].reset();
  }
}

std::unique_ptr<Yolox> load_yolox(const Context& cx, const WeightFile& file, const std::string& asked) {
  const std::optional<YoloxInfo> info = yolox_info(file);
  check(info.has_value(), "{}: holds no YOLOX in the official project's layout; expected tensors such as {}",
        file.path().string(), std::string(kStem) + ".conv.weight");
  check(!is_int8(file),
        "{}: holds weights of 8 bits, which are for inference only; use the float32 weights that they were made from",
        file.path().string());
  check(asked.empty() || asked == yolox_name(info->shape), "{}: this is {}; you asked for {}", file.path().string(),
        info->describe(), asked);
  auto model = std::make_unique<Yolox>(info->shape);
  model->load(cx, file);
  return model;
}

}  // namespace hr
