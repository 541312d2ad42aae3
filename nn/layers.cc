#include "nn/layers.h"

#include <cmath>

#include "core/error.h"

namespace hr {
namespace {

// torch counts a transposed convolution's by its output channels: dimension 1 of the stored filter.
int64_t fan_in(const ConvShape& s) { return (s.transposed ? s.out : s.in) * s.kernel * s.kernel; }

Parameter* declare_filter(ParameterStore& store, const std::string& name, const ConvShape& s, bool head = false) {
  const Shape torch_shape =
      s.transposed ? Shape{s.in, s.out, s.kernel, s.kernel} : Shape{s.out, s.in, s.kernel, s.kernel};
  const auto layout = s.transposed ? ParameterLayout::deconv_filter : ParameterLayout::filter;
  return &store.add_parameter(name + ".weight", torch_shape, layout, 0.0f, head ? 0 : fan_in(s));
}

}  // namespace

BatchNorm::BatchNorm(ParameterStore& store, const std::string& name, int64_t channels)
    : weight(&store.add_parameter(name + ".weight", {channels}, ParameterLayout::vector, 1.0f, 0)),
      bias(&store.add_parameter(name + ".bias", {channels}, ParameterLayout::vector, 0.0f, 0)),
      running_mean(&store.add_buffer(name + ".running_mean", channels, 0.0f)),
      running_var(&store.add_buffer(name + ".running_var", channels, 1.0f)),
      num_batches_tracked(&store.add_counter(name + ".num_batches_tracked")) {}

struct ConvBn::Folded {
  uint64_t version = ~uint64_t{0};
  Tensor filter, bias;
  PackedFilters packed;
};

ConvBn::ConvBn(ParameterStore& store, const std::string& conv, const std::string& bn, ConvShape shape)
    : store_(&store),
      shape_(shape),
      weight_(declare_filter(store, conv, shape)),
      bn_(store, bn, shape.out),
      folded_(std::make_shared<Folded>()) {}

Tensor ConvBn::convolve(Context& cx, const Tensor& x, const Tensor& filter, const Conv2d& options) const {
  try {
    return shape_.transposed ? conv_transpose2d(cx, x, filter, options) : conv2d(cx, x, filter, options);
  } catch (const Error& e) {
    fail("{}: {}", weight_->name, e.what());
  }
}

// Inference: filter' = filter * scale, bias' = shift, with scale = weight / sqrt(running_var + eps).
ConvBn::Folded& ConvBn::fold(Context& cx) const {
  Folded& f = *folded_;
  if (f.version == store_->version) return f;
  // Folded weights outlive steps, so they must not come from a step's arena.
  static const auto keeper = std::make_shared<CachingAllocator>();
  Context persistent;
  persistent.device = cx.device;
  persistent.allocator = keeper;
  f.packed.by_layout.clear();
  f.filter = persistent.empty(weight_->value.shape(), DType::f32);
  f.bias = persistent.empty({shape_.out}, DType::f32);
  const Normalised n = batch_norm(persistent, persistent.empty({1, 1, 1, shape_.out}, DType::f32), bn_.state());
  const int64_t per_channel = weight_->value.numel() / shape_.out;
  const float* w = weight_->value.data<float>();
  for (int64_t o = 0; o < shape_.out; ++o) {
    const float scale = n.scale.data<float>()[o];
    for (int64_t i = 0; i < per_channel; ++i)
      f.filter.data<float>()[o * per_channel + i] = w[o * per_channel + i] * scale;
    f.bias.data<float>()[o] = n.shift.data<float>()[o];
  }
  f.version = store_->version;
  return f;
}

ConvBn::Term ConvBn::term(Context& cx, const Tensor& x, int up) const {
  if (!cx.training && !cx.recording()) {
    Folded& f = fold(cx);
    return {
        convolve(cx, x, f.filter, {.stride = shape_.stride, .pad = shape_.pad, .bias = &f.bias, .packed = &f.packed}),
        {},
        up};
  }
  const Tensor y = convolve(cx, x, weight_->value, {.stride = shape_.stride, .pad = shape_.pad});
  if (cx.training) {
    ++bn_.num_batches_tracked->value;
    ++store_->version;
  }
  return {y, batch_norm(cx, y, bn_.state()), up};
}

Tensor ConvBn::operator()(Context& cx, const Tensor& x, After after) const {
  if (!cx.training && !cx.recording()) {
    Folded& f = fold(cx);
    return convolve(cx, x, f.filter,
                    {.stride = shape_.stride,
                     .pad = shape_.pad,
                     .bias = &f.bias,
                     .add = after.add,
                     .relu = after.relu,
                     .packed = &f.packed});
  }
  const Term t = term(cx, x);
  std::vector<FuseTerm> terms{{t.x, &*t.norm}};
  if (after.add != nullptr) terms.push_back({*after.add});
  return fuse(cx, terms, after.relu ? Act::relu : Act::none);
}

Tensor fuse_terms(Context& cx, const std::vector<ConvBn::Term>& terms, Act act) {
  std::vector<FuseTerm> list;
  list.reserve(terms.size());
  for (const ConvBn::Term& t : terms) list.push_back({t.x, t.norm ? &*t.norm : nullptr, t.up});
  return fuse(cx, list, act);
}

HeadConv::HeadConv(ParameterStore& store, const std::string& name, ConvShape shape)
    : shape_(shape),
      weight_(declare_filter(store, name, shape, true)),
      bias_(&store.add_parameter(name + ".bias", {shape.out}, ParameterLayout::vector, 0.0f, 0)) {}

Tensor HeadConv::operator()(Context& cx, const Tensor& x) const {
  return conv2d(cx, x, weight_->value,
                {.stride = shape_.stride, .pad = shape_.pad, .bias = &bias_->value, .f32_output = true});
}

}  // namespace hr
