#include "nn/layers.h"

#include "core/error.h"

namespace hr {
namespace {

// PyTorch takes dimension 1 of the stored filter for fan_in, which is the number of output channels for a transposed
// convolution.
int64_t fan_in(const ConvShape& s) { return (s.transposed ? s.out : s.in) * s.kernel * s.kernel; }

Parameter* declare_filter(ParameterStore& store, const std::string& name, const ConvShape& s,
                          bool small_start = false) {
  const Shape torch_shape =
      s.transposed ? Shape{s.in, s.out, s.kernel, s.kernel} : Shape{s.out, s.in, s.kernel, s.kernel};
  const auto layout = s.transposed ? ParameterLayout::deconv_filter : ParameterLayout::filter;
  return &store.add_parameter(name + ".weight", torch_shape, layout, 0.0f, small_start ? 0 : fan_in(s));
}

Tensor convolve(Context& cx, const ConvShape& shape, const Parameter& weight, const Tensor& x, const Tensor& filter,
                const Conv2d& options) {
  try {
    return shape.transposed ? conv_transpose2d(cx, x, filter, options) : conv2d(cx, x, filter, options);
  } catch (const OutOfMemory&) {
    throw;  // The name of this layer would not help. The training step adds the batch size that would fit.
  } catch (const Error& e) {
    fail("{}: {}", weight.name, e.what());
  }
}

}  // namespace

BatchNorm::BatchNorm(ParameterStore& store, const std::string& name, int64_t channels)
    : weight(&store.add_parameter(name + ".weight", {channels}, ParameterLayout::plain, 1.0f, 0)),
      bias(&store.add_parameter(name + ".bias", {channels}, ParameterLayout::plain, 0.0f, 0)),
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

// Folded weights outlive a step, so they are allocated from the store's memory and not from the arena of a step.
ConvBn::Folded& ConvBn::fold(Context& cx) const {
  Folded& f = *folded_;
  if (f.version == store_->version) return f;
  Context persistent = store_->home();
  persistent.stream = cx.stream;
  if (store_->purpose() == Purpose::inference) {
    fold_batch_norm_in_place(persistent, weight_->value, bn_.state());
    f.filter = weight_->value;
    f.bias = bn_.bias->value;
  } else {
    const FoldedFilter folded = fold_batch_norm(persistent, weight_->value, bn_.state());
    f.filter = folded.filter;
    f.bias = folded.bias;
  }
  f.packed = {.allocator = persistent.allocator};
  f.version = store_->version;
  return f;
}

ConvBn::Term ConvBn::term(Context& cx, const Tensor& x, int up) const {
  if (cx.may_fold()) {
    Folded& f = fold(cx);
    return {convolve(cx, shape_, *weight_, x, f.filter,
                     {.stride = shape_.stride, .pad = shape_.padding(), .bias = &f.bias, .packed = &f.packed}),
            {},
            up};
  }
  Tensor statistics;
  const Tensor y = convolve(cx, shape_, *weight_, x, weight_->value,
                            {.stride = shape_.stride,
                             .pad = shape_.padding(),
                             .rounded = weight_->rounded_filter(),
                             .statistics = cx.training ? &statistics : nullptr});
  if (cx.training) {
    ++bn_.num_batches_tracked->value;
    ++store_->version;
  }
  return {y, batch_norm(cx, y, bn_.state(), statistics), up};
}

Tensor ConvBn::operator()(Context& cx, const Tensor& x, After after) const {
  if (cx.may_fold()) {
    Folded& f = fold(cx);
    return convolve(cx, shape_, *weight_, x, f.filter,
                    {.stride = shape_.stride,
                     .pad = shape_.padding(),
                     .bias = &f.bias,
                     .add = after.add,
                     .over_add = after.over_add,
                     .into = after.into,
                     .relu = after.relu,
                     .packed = &f.packed});
  }
  check(after.into == nullptr, "{}: batch norm cannot write into given memory", weight_->name);
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

struct Conv::Packed {
  uint64_t version = ~uint64_t{0};
  PackedFilters filters;
};

Conv::Conv(ParameterStore& store, const std::string& name, ConvShape shape, ConvOptions options)
    : store_(&store),
      shape_(shape),
      options_(options),
      weight_(declare_filter(store, name, shape, options.small_start)),
      packed_(std::make_shared<Packed>()) {
  if (options.bias) bias_ = &store.add_parameter(name + ".bias", {shape.out}, ParameterLayout::plain, 0.0f, 0);
}

Tensor Conv::operator()(Context& cx, const Tensor& x, After after) const {
  Conv2d options{.stride = shape_.stride,
                 .pad = shape_.padding(),
                 .bias = bias_ != nullptr ? &bias_->value : nullptr,
                 .f32_output = options_.f32_output};
  if (!cx.may_fold()) {
    options.rounded = weight_->rounded_filter();
    Tensor y = convolve(cx, shape_, *weight_, x, weight_->value, options);
    check(after.into == nullptr, "{}: only inference writes into given memory", weight_->name);
    if (after.add == nullptr && !after.relu) return y;
    std::vector<FuseTerm> terms{{y}};
    if (after.add != nullptr) terms.push_back({*after.add});
    return fuse(cx, terms, after.relu ? Act::relu : Act::none);
  }
  Packed& p = *packed_;
  if (p.version != store_->version) p = {store_->version, {.allocator = store_->home().allocator}};
  options.packed = &p.filters;
  options.add = after.add;
  options.over_add = after.over_add;
  options.into = after.into;
  options.relu = after.relu;
  return convolve(cx, shape_, *weight_, x, weight_->value, options);
}

}  // namespace hr
