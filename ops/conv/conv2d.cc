#include "ops/conv/conv2d.h"

#include <algorithm>
#include <optional>

#include "ops/conv/choice.h"
#include "ops/conv/cost.h"
#include "ops/conv/cpu_conv.h"
#include "ops/conv/deferred_gradient.h"
#include "ops/conv/dnnl_conv.h"
#include "ops/conv/gpu_conv.h"
#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/for_each.h"
#include "ops/trace.h"

namespace hr {
namespace {

// Writes the gradient of a parameter directly into its place if it is bound and has not been written yet, otherwise
// through a temporary.
class ParameterGradient {
 public:
  ParameterGradient(Context& cx, const Tensor& parameter)
      : cx_(cx), parameter_(parameter), sink_(cx.tape->sink(parameter)) {
    target_ = sink_.grad.defined() && !sink_.accumulate ? sink_.grad : cx.empty(parameter.shape(), DType::f32);
  }
  float* data() const { return target_.data<float>(); }
  void finish() {
    if (!sink_.grad.defined()) {
      cx_.tape->add(parameter_, target_);
    } else if (sink_.accumulate) {
      copy_or_add(cx_, target_, sink_.grad, true);
    }
  }

 private:
  Context& cx_;
  const Tensor& parameter_;
  Tape::Sink sink_;
  Tensor target_;
};

ConvAct act_of(const Conv2d& options) {
  return options.silu ? ConvAct::silu : options.relu ? ConvAct::relu : ConvAct::none;
}

struct Operands {
  Tensor x, filter, rounded, bias;
  ConvFilter both() const { return {filter.data<float>(), rounded.defined() ? rounded.data<bf16>() : nullptr}; }
};

void backward(Context& cx, const ConvGeometry& geometry, const Operands& in, uint64_t y) {
  Tensor dy = take_gradient(cx, y);
  if (!dy.defined()) return;
  if (dy.dtype() != geometry.src) {
    Context plain = cx;  // A conversion inside of a backward function must not be recorded itself.
    plain.tape = nullptr;
    dy = cast(plain, dy, geometry.src);
  }
  ConvBackend& conv = conv_backend(cx);
  const bool bias_learns = in.bias.defined() && in.bias.requires_grad();
  if (in.filter.requires_grad() || bias_learns) {
    std::optional<ParameterGradient> filter, bias;
    Tensor unwanted;  // The primitive always computes both gradients; this one receives that of a frozen filter.
    if (in.filter.requires_grad()) {
      filter.emplace(cx, in.filter);
    } else {
      unwanted = cx.empty(in.filter.shape(), DType::f32);
    }
    if (bias_learns) bias.emplace(cx, in.bias);
    const Profiled profiled(cx, "convolution: filter gradient", conv_bytes(geometry), conv_operations(geometry));
    conv.backward_filter(cx, geometry, in.x.raw(), dy.raw(), filter ? filter->data() : unwanted.data<float>(),
                         bias ? bias->data() : nullptr);
    if (bias) bias->finish();
    if (filter) filter->finish();
  }
  if (in.x.requires_grad()) {
    if (conv.has_gradient_epilogue(geometry) &&
        cx.tape->defer(in.x,
                       std::make_shared<DeferredDataGradient>(geometry, in.x.shape(), dy, in.filter, in.rounded))) {
      return;
    }
    Tensor dx = cx.empty(in.x.shape(), in.x.dtype());
    const Profiled profiled(cx, "convolution: data gradient", conv_bytes(geometry), conv_operations(geometry));
    conv.backward_data(cx, geometry, dy.raw(), in.both(), dx.raw());
    add_gradient(cx, in.x, std::move(dx));
  }
}

void compute(Context& cx, std::string_view op, const ConvGeometry& g, const Operands& in, const Conv2d& options,
             const Tensor& y) {
  ConvBackend& conv = conv_backend(cx);
  if (options.statistics != nullptr) {
    check(options.bias == nullptr && options.add == nullptr && !options.relu && !options.silu,
          "{}: statistics are of the convolution alone, without a bias or an epilogue", op);
    *options.statistics = conv.forward_with_statistics(cx, g, in.x.raw(), in.both(), y.raw());
    if (options.statistics->defined()) return;
  }
  conv.forward(cx, g, in.x.raw(), in.both(), options.bias != nullptr ? options.bias->data<float>() : nullptr,
               options.add != nullptr ? options.add->raw() : nullptr, act_of(options), y.raw(), options.packed);
}

Tensor run(Context& cx, std::string_view op, bool transposed, const Tensor& x, const Tensor& filter,
           const Conv2d& options) {
  check(x.rank() == 4, "{}: expected x of [N, H, W, C], got {}", op, to_string(x.shape()));
  check(filter.rank() == 4 && filter.dtype() == DType::f32,
        "{}: expected an f32 filter of [O, kh, kw, I], got {} of {}", op, to_string(filter.shape()),
        name_of(filter.dtype()));
  check(x.dim(3) == filter.dim(3), "{}: expected {} input channels, got {}", op, filter.dim(3), x.dim(3));
  check(options.stride >= 1 && options.pad >= 0,
        "{}: stride {} and pad {}; expected a stride of at least 1 and a pad of at least 0", op, options.stride,
        options.pad);
  check(!options.relu || !options.silu, "{}: expected one activation, got relu and silu", op);
  if (!writes_into(cx, x.dtype())) {
    check(options.into == nullptr, "{}: this processor has no bf16 convolution, so y cannot lie in given memory", op);
    Conv2d wide = options;
    const Tensor add = options.add != nullptr ? cast(cx, *options.add, DType::f32) : Tensor();
    if (options.add != nullptr) wide.add = &add;
    const Tensor y = run(cx, op, transposed, cast(cx, x, DType::f32), filter, wide);
    return options.f32_output ? y : cast(cx, y, DType::bf16);
  }
  const ConvGeometry g{.n = x.dim(0),
                       .h = x.dim(1),
                       .w = x.dim(2),
                       .ci = x.dim(3),
                       .co = filter.dim(0),
                       .kh = filter.dim(1),
                       .kw = filter.dim(2),
                       .stride = options.stride,
                       .pad = options.pad,
                       .transposed = transposed,
                       .src = x.dtype(),
                       .dst = options.f32_output ? DType::f32 : x.dtype()};
  const bool fits = transposed ? g.out_h() > 0 && g.out_w() > 0 : g.h + 2 * g.pad >= g.kh && g.w + 2 * g.pad >= g.kw;
  check(fits && g.n > 0, "{}: input {} with kernel {}x{}, pad {} gives an empty output", op, to_string(x.shape()), g.kh,
        g.kw, g.pad);
  const Shape y_shape{g.n, g.out_h(), g.out_w(), g.co};
  if (options.bias != nullptr) {
    check(options.bias->numel() == g.co && options.bias->dtype() == DType::f32, "{}: expected a bias of {} f32, got {}",
          op, g.co, to_string(options.bias->shape()));
  }
  if (options.add != nullptr) {
    check(options.add->shape() == y_shape && options.add->dtype() == g.dst, "{}: expected a summand {}, got {}", op,
          to_string(y_shape), to_string(options.add->shape()));
  }

  if (options.into != nullptr) {
    check(options.into->shape() == y_shape && options.into->dtype() == g.dst, "{}: expected memory for {}, got {}", op,
          to_string(y_shape), to_string(options.into->shape()));
  }

  const bool over_add = options.into == nullptr && options.over_add && options.add != nullptr &&
                        options.add->unique() && cx.trace == nullptr &&
                        conv_backend(cx).allows_y_over_add(cx, g, options.packed != nullptr);
  Tensor y = options.into != nullptr ? options.into->view(y_shape)
             : over_add              ? options.add->view(y_shape)
                                     : cx.empty(y_shape, g.dst);
  const Operands in{x, filter, options.rounded != nullptr ? *options.rounded : Tensor(),
                    options.bias != nullptr ? *options.bias : Tensor()};
  const Profiled profiled(
      cx, "convolution: forward",
      conv_bytes(g) + (options.add != nullptr ? static_cast<double>(numel(y_shape) * size_of(g.dst)) : 0),
      conv_operations(g));
  compute(cx, op, g, in, options, y);
  if (cx.trace != nullptr) {
    cx.trace->conv({.x = x,
                    .filter = filter,
                    .bias = options.bias,
                    .add = options.add,
                    .stride = options.stride,
                    .pad = options.pad,
                    .transposed = transposed,
                    .relu = options.relu,
                    .silu = options.silu,
                    .y = y});
  }
  const bool bias_learns = options.bias != nullptr && options.bias->requires_grad();
  if (cx.recording() && (x.requires_grad() || filter.requires_grad() || bias_learns)) {
    check(options.add == nullptr && options.into == nullptr && !options.relu && !options.silu &&
              options.packed == nullptr,
          "{}: the inference epilogue has no derivative; use fuse in training", op);
    y.set_requires_grad(true);
    cx.tape->record([g, in, id = y.id()](Context& bx) { backward(bx, g, in, id); });
  }
  return y;
}

}  // namespace

Tensor conv2d(Context& cx, const Tensor& x, const Tensor& filter, const Conv2d& options) {
  return run(cx, "conv2d", false, x, filter, options);
}

bool writes_into(const Context& cx, DType type) {
  return type != DType::bf16 || cx.device.is_cuda() || dnnl_has_bf16();
}

bool joins_terms(Context& cx, std::span<const ConcatTerm> terms) {
  return !cx.device.is_cuda() && cx.trace == nullptr && !cx.recording() && conv_backend(cx).joins(cx) &&
         std::ranges::all_of(terms, [](const ConcatTerm& t) { return t.x.dtype() == DType::f32; });
}

Tensor conv2d(Context& cx, std::span<const ConcatTerm> terms, const Tensor& filter, const Conv2d& options) {
  if (terms.size() == 1 && terms[0].up == 0) return conv2d(cx, terms[0].x, filter, options);
  if (!joins_terms(cx, terms)) return conv2d(cx, concat(cx, terms), filter, options);
  const auto full = std::ranges::find(terms, 0, &ConcatTerm::up);
  check(full != terms.end() && full->x.rank() == 4, "conv2d: expected a term of [N, H, W, C] without upsampling");
  ConvGeometry g{.n = full->x.dim(0), .h = full->x.dim(1), .w = full->x.dim(2), .co = filter.dim(0)};
  std::vector<ConvInput> inputs;
  for (const ConcatTerm& t : terms) {
    check(t.x.rank() == 4 && t.x.dim(0) == g.n && t.x.dim(1) << t.up == g.h && t.x.dim(2) << t.up == g.w,
          "conv2d: a term upsampled {}x must give [{}, {}, {}, C], got {}", 1 << t.up, g.n, g.h, g.w,
          to_string(t.x.shape()));
    inputs.push_back({t.x.raw(), t.x.dim(3), t.up});
    g.ci += t.x.dim(3);
  }
  check(filter.shape() == Shape({g.co, 1, 1, g.ci}), "conv2d: expected a filter [O, 1, 1, {}] for these terms, got {}",
        g.ci, to_string(filter.shape()));
  check(options.add == nullptr && options.stride == 1 && options.pad == 0,
        "conv2d: terms are joined only without a summand, a stride and a pad");
  Tensor y = cx.empty({g.n, g.h, g.w, g.co}, DType::f32);
  const Profiled profiled(cx, "convolution: forward", conv_bytes(g), conv_operations(g));
  conv_backend(cx).forward_joined(cx, g, inputs, {.f32 = filter.data<float>()},
                                  options.bias != nullptr ? options.bias->data<float>() : nullptr, act_of(options),
                                  y.raw(), options.packed);
  return y;
}

Tensor conv_transpose2d(Context& cx, const Tensor& x, const Tensor& filter, const Conv2d& options) {
  return run(cx, "conv_transpose2d", true, x, filter, options);
}

ConvBackend& conv_backend(Context& cx) {
  if (!cx.ops) {
    if (cx.device.is_cuda()) {
      cx.ops = make_gpu_conv(cx);
    } else {
      cx.ops = std::make_shared<CpuConv>(conv_plan_file("cpu_plans.txt"),
                                         cx.listener != nullptr ? *cx.listener : ConvPlanMemory::Listener());
    }
  }
  return static_cast<ConvBackend&>(*cx.ops);
}

}  // namespace hr
