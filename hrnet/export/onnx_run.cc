#include "hrnet/export/onnx_run.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "core/error.h"
#include "hrnet/export/onnx_plain_ops.h"
#include "ops/conv/conv2d.h"
#include "ops/conv/depthwise_conv2d.h"
#include "ops/max_pool2d.h"

namespace hr {
namespace {

using Ints = std::vector<int64_t>;

OnnxArray array_of(const NamedArray& tensor) {
  const ArrayView view{.dtype = tensor.dtype, .shape = tensor.shape, .bytes = tensor.bytes};
  OnnxArray a{.dtype = DType::f32, .shape = tensor.shape, .reals = {}, .integers = {}};
  // Bytes and int32 are the whole numbers of DequantizeLinear.
  if (tensor.dtype == DType::i64 || tensor.dtype == DType::i32 || tensor.dtype == DType::i8 ||
      tensor.dtype == DType::u8) {
    a.dtype = DType::i64;
    a.integers = view.to_i64();
  } else {
    a.reals = view.to_f32();
  }
  return a;
}

class Runner {
 public:
  Runner(Context& cx, const OnnxModel& model, const OnnxVisit& visit) : cx_(cx), visit_(visit) {
    for (const NamedArray& tensor : model.tensors) tensors_.emplace(tensor.name, &tensor);
  }

  void set(const std::string& name, OnnxArray value) { values_[name] = std::move(value); }
  void forget(const std::string& name) { values_.erase(name); }

  const OnnxArray& at(const std::string& name) {
    if (const auto found = values_.find(name); found != values_.end()) return found->second;
    const auto tensor = tensors_.find(name);
    check(tensor != tensors_.end(), "no node, input or tensor gives the value {}", name);
    return values_[name] = array_of(*tensor->second);
  }

  void run(const OnnxNode& n) {
    try {
      check(n.outputs.size() == 1 && n.domain.empty(), "expected one output, and an op of ONNX's standard domain");
      OnnxArray result = value(n);
      if (visit_) visit_(n, result);
      set(n.outputs[0], std::move(result));
    } catch (const Error& e) {
      fail("onnx: node {} ({}): {}", n.name, n.op, e.what());
    }
  }

 private:
  const OnnxArray& in(const OnnxNode& n, size_t i) {
    check(i < n.inputs.size() && !n.inputs[i].empty(), "input {} is missing", i);
    return at(n.inputs[i]);
  }
  template <class T>
  static const T& of(const OnnxNode& n, const char* name) {
    const T* value = n.find<T>(name);
    check(value != nullptr, "the attribute {} is missing", name);
    return *value;
  }

  OnnxArray value(const OnnxNode& n) {
    const std::string& op = n.op;
    if (op == "Conv" || op == "ConvTranspose") return convolution(n);
    if (op == "BatchNormalization") return batch_norm(n);
    if (op == "MaxPool") return max_pool(n);
    if (op == "Resize") return resize(n);
    if (op == "Where") return onnx_where(in(n, 0), in(n, 1), in(n, 2));
    if (op == "QuantizeLinear") return onnx_quantize(in(n, 0), in(n, 1), in(n, 2));
    if (op == "DequantizeLinear") {
      const auto* axis = n.find<int64_t>("axis");
      return onnx_dequantize(in(n, 0), in(n, 1), n.inputs.size() > 2 ? &in(n, 2) : nullptr,
                             axis != nullptr ? *axis : 1);
    }
    if (op == "Cast") return onnx_cast(in(n, 0), of<int64_t>(n, "to"));
    if (op == "Transpose") return onnx_transpose(in(n, 0), of<Ints>(n, "perm"));
    if (op == "Reshape") return onnx_reshape(in(n, 0), in(n, 1).integers);
    if (op == "Slice") return slice(n);
    if (op == "GatherElements") return onnx_gather_elements(in(n, 0), in(n, 1), of<int64_t>(n, "axis"));
    if (op == "ArgMax" || op == "ReduceMax") {
      const auto last = static_cast<int64_t>(in(n, 0).shape.size()) - 1;
      const bool keep = of<int64_t>(n, "keepdims") != 0;
      check(op == "ArgMax" ? of<int64_t>(n, "axis") == last : of<Ints>(n, "axes") == Ints{last},
            "only the last axis is supported");
      return op == "ArgMax" ? onnx_argmax(in(n, 0), keep) : onnx_max(in(n, 0), keep);
    }
    if (op == "Concat") {
      std::vector<const OnnxArray*> parts;
      for (size_t i = 0; i < n.inputs.size(); ++i) parts.push_back(&in(n, i));
      return onnx_concat(parts, of<int64_t>(n, "axis"));
    }
    return n.inputs.size() == 1 ? onnx_unary(op, in(n, 0)) : onnx_binary(op, in(n, 0), in(n, 1));
  }

  // These two functions convert [N, C, H, W] to a tensor [N, H, W, C] and back.
  Tensor channels_last(const OnnxArray& x) {
    check(x.shape.size() == 4, "expected [N, C, H, W], got {}", to_string(x.shape));
    const OnnxArray turned = onnx_transpose(x, {0, 2, 3, 1});
    Tensor t = cx_.empty(turned.shape, DType::f32);
    cx_.upload(t, std::as_bytes(std::span(turned.reals)));
    return t;
  }
  OnnxArray channels_first(const Tensor& t) {
    return onnx_transpose({.dtype = DType::f32, .shape = t.shape(), .reals = to_host(cx_, t), .integers = {}},
                          {0, 3, 1, 2});
  }

  // Returns the number of a list attribute. Throws Error unless the number is the same along both axes and at all
  // borders.
  static int same(const OnnxNode& n, const char* name) {
    const Ints& all = of<Ints>(n, name);
    check(!all.empty() && std::equal(all.begin() + 1, all.end(), all.begin()) && all[0] >= 0 && all[0] < 1000,
          "{} [{}]: expected equal numbers", name, fmt::join(all, ", "));
    return static_cast<int>(all[0]);
  }

  OnnxArray convolution(const OnnxNode& n) {
    const bool transposed = n.op == "ConvTranspose";
    const OnnxArray& w = in(n, 1);
    check(w.shape.size() == 4, "expected a filter of four dimensions, got {}", to_string(w.shape));
    const Tensor x = channels_last(in(n, 0));
    const int stride = same(n, "strides"), pad = same(n, "pads");
    Tensor bias;
    if (n.inputs.size() > 2) {
      bias = cx_.empty(in(n, 2).shape, DType::f32);
      cx_.upload(bias, std::as_bytes(std::span(in(n, 2).reals)));
    }
    const Tensor* b = bias.defined() ? &bias : nullptr;
    const auto* group = n.find<int64_t>("group");
    const auto tensor = [&](const OnnxArray& a, Shape shape) {
      Tensor t = cx_.empty(std::move(shape), DType::f32);
      cx_.upload(t, std::as_bytes(std::span(a.reals)));
      return t;
    };
    if (group != nullptr && *group != 1) {
      check(*group == x.dim(3) && w.shape[1] == 1 && w.shape[0] == *group && w.shape[2] == w.shape[3] && !transposed,
            "group {}: of grouped convolutions only depthwise ones are supported", *group);
      const OnnxArray by_tap = onnx_transpose(w, {2, 3, 1, 0});  // [k, k, 1, C]
      const Tensor filter = tensor(by_tap, {w.shape[2], w.shape[3], *group});
      return channels_first(depthwise_conv2d(cx_, x, filter, {.stride = stride, .pad = pad, .bias = b}));
    }
    // The filter of a transposed convolution is [I, O, kh, kw], and any other filter is [O, I, kh, kw]; our ops expect
    // [O, kh, kw, I].
    const OnnxArray turned = onnx_transpose(w, transposed ? Ints{1, 2, 3, 0} : Ints{0, 2, 3, 1});
    const Tensor filter = tensor(turned, turned.shape);
    const Conv2d options{.stride = stride, .pad = pad, .bias = b};
    return channels_first(transposed ? conv_transpose2d(cx_, x, filter, options) : conv2d(cx_, x, filter, options));
  }

  OnnxArray batch_norm(const OnnxNode& n) {
    OnnxArray y = in(n, 0);
    const auto& weight = in(n, 1).reals;
    const auto& bias = in(n, 2).reals;
    const auto& mean = in(n, 3).reals;
    const auto& variance = in(n, 4).reals;
    check(y.shape.size() == 4 && weight.size() == static_cast<size_t>(y.shape[1]) && bias.size() == weight.size() &&
              mean.size() == weight.size() && variance.size() == weight.size(),
          "expected [N, C, H, W] and C numbers in each parameter, got shape {} and {} numbers", to_string(y.shape),
          weight.size());
    const double epsilon = of<float>(n, "epsilon");
    const auto pixels = static_cast<size_t>(y.shape[2] * y.shape[3]);
    for (size_t i = 0; i < y.reals.size(); ++i) {
      const size_t c = i / pixels % weight.size();
      const double scale = weight[c] / std::sqrt(static_cast<double>(variance[c]) + epsilon);
      y.reals[i] = static_cast<float>((y.reals[i] - static_cast<double>(mean[c])) * scale + bias[c]);
    }
    return y;
  }

  OnnxArray max_pool(const OnnxNode& n) {
    const MaxPool2d options{.kernel = same(n, "kernel_shape"), .stride = same(n, "strides"), .pad = same(n, "pads")};
    return channels_first(max_pool2d(cx_, channels_last(in(n, 0)), options));
  }

  OnnxArray resize(const OnnxNode& n) {
    check(of<std::string>(n, "mode") == "nearest" && of<std::string>(n, "nearest_mode") == "floor" &&
              of<std::string>(n, "coordinate_transformation_mode") == "asymmetric",
          "only mode nearest with asymmetric coordinates, rounded down, is supported");
    const std::vector<float>& scales = in(n, 2).reals;
    check(scales.size() == 4 && scales[0] == 1 && scales[1] == 1 && scales[2] == scales[3] && scales[2] >= 1 &&
              scales[2] == std::floor(scales[2]),
          "scales [{}]: expected 1, 1 and the same whole number twice", fmt::join(scales, ", "));
    return onnx_repeat(in(n, 0), static_cast<int64_t>(scales[2]));
  }

  OnnxArray slice(const OnnxNode& n) {
    OnnxArray y = in(n, 0);
    const Ints &starts = in(n, 1).integers, &ends = in(n, 2).integers, &axes = in(n, 3).integers,
               &steps = in(n, 4).integers;
    check(starts.size() == ends.size() && starts.size() == axes.size() && starts.size() == steps.size(),
          "starts, ends, axes and steps differ in length");
    for (size_t i = 0; i < starts.size(); ++i) y = onnx_slice(y, {axes[i], starts[i], ends[i], steps[i]});
    return y;
  }

  Context& cx_;
  const OnnxVisit& visit_;
  std::unordered_map<std::string, const NamedArray*> tensors_;
  std::unordered_map<std::string, OnnxArray> values_;
};

}  // namespace

OnnxArrays run_onnx(Context& cx, const OnnxModel& model, const OnnxArrays& inputs,
                    const std::vector<std::string>& wanted, const OnnxVisit& visit) {
  // A value is freed after the last node that reads it.
  std::unordered_map<std::string, size_t> last;
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    for (const std::string& name : model.nodes[i].inputs) last[name] = i;
  }
  for (const std::string& name : wanted) last[name] = model.nodes.size();
  Runner runner(cx, model, visit);
  for (const auto& [name, value] : inputs) runner.set(name, value);
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    runner.run(model.nodes[i]);
    for (const std::string& name : model.nodes[i].inputs) {
      if (last[name] == i) runner.forget(name);
    }
  }
  OnnxArrays results;
  for (const std::string& name : wanted) results.emplace(name, runner.at(name));
  return results;
}

}  // namespace hr
