#include "ops/fuse.h"

#include <limits>

#include "core/comm/comm.h"
#include "core/gpu_switches.h"
#include "ops/conv/deferred_gradient.h"
#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/for_each.h"
#include "ops/fuse_kernel.h"
#include "ops/trace.h"

namespace hr {
namespace {

// The values that the backward pass of a term needs.
struct SavedTerm {
  Tensor x;
  Normalised norm;
  bool normalised = false;
  int up = 0;
};

struct Saved {
  std::vector<SavedTerm> terms;
  Tensor y;     // Needed for the mask of ReLU; undefined without ReLU, and where there are bits.
  Tensor bits;  // [rows, C / 8] u8: the mask of ReLU, if the forward pass wrote it.
  uint64_t id = 0;
  Shape shape;
};

// Calls body.template operator()<N>() for a count N from 1 to 4.
template <class Body>
void for_count(size_t count, const Body& body) {
  switch (count) {
    case 1:
      return body.template operator()<1>();
    case 2:
      return body.template operator()<2>();
    case 3:
      return body.template operator()<3>();
    default:
      return body.template operator()<4>();
  }
}

template <class T, int Terms, bool Bits>
void forward(const Context& cx, const std::vector<FuseTerm>& terms, const Tensor& y, Act act, const Tensor& bits) {
  const int64_t channels = y.dim(3);
  FuseForward<T, Terms, Bits> f{.y = y.data<T>(),
                                .h = static_cast<uint32_t>(y.dim(1)),
                                .w = static_cast<uint32_t>(y.dim(2)),
                                .channels = channels,
                                .floor = act == Act::relu ? 0.0f : -std::numeric_limits<float>::infinity(),
                                .bits = Bits ? bits.data<uint8_t>() : nullptr};
  for (int t = 0; t < Terms; ++t) {
    f.x[t] = terms[t].x.data<T>();
    f.up[t] = terms[t].up;
    f.scale[t] = terms[t].norm != nullptr ? terms[t].norm->scale.data<float>() : nullptr;
    f.shift[t] = terms[t].norm != nullptr ? terms[t].norm->shift.data<float>() : nullptr;
  }
  const Operands operands(cx, terms, y);
  for_each(cx, y.numel() / channels, channels, f);
}

// The masked sum of the addends of a gradient, written to dz, and the reductions for the term `first`, which may be
// null.
template <class T, bool Bits>
Partials masked_sum(const Context& cx, const Saved& saved, const std::vector<Tensor>& addends, const SavedTerm* first,
                    const Tensor& dz) {
  const int64_t channels = saved.shape[3], rows = numel(saved.shape) / channels;
  Partials sums;
  for_count(addends.size(), [&]<int N>() {
    MaskedSum<T, N, Bits> masked{.y = Bits ? nullptr : saved.y.data<T>(),
                                 .dz = dz.data<T>(),
                                 .channels = channels,
                                 .bits = Bits ? saved.bits.data<uint8_t>() : nullptr};
    for (int a = 0; a < N; ++a) masked.dy[a] = addends[a].data<T>();
    if (first != nullptr) {
      const MaskedSumReduce<T, N, Bits> f{masked, first->x.data<T>(), first->norm.mean.data<float>()};
      sums = reduce_rows(cx, rows, channels, f);
    } else {
      for_each(cx, rows, channels, masked);
    }
  });
  return sums;
}

// The place to which the gradient of a learned tensor is written.
struct GradientTarget {
  Tensor grad;
  bool accumulate = false, bound = false;
};
GradientTarget gradient_target(Context& cx, const Tensor& parameter) {
  if (!parameter.requires_grad()) return {};
  const Tape::Sink sink = cx.tape->sink(parameter);
  if (sink.grad.defined()) return {sink.grad, sink.accumulate, true};
  return {cx.empty(parameter.shape(), DType::f32)};
}

// Writes the gradients of the learned tensors and dx, given dz (the gradient of the normalised term at its own
// resolution) and the reductions of dz. If Relu, the mask of ReLU has not yet been applied to dz.
template <class T, bool Relu>
void norm_backward(Context& cx, const SavedTerm& term, const T* dz, const Partials& partials, T* dx) {
  const int64_t channels = term.x.dim(3), rows = term.x.numel() / channels;
  const GradientTarget weight = gradient_target(cx, term.norm.weight), bias = gradient_target(cx, term.norm.bias);
  const Tensor coefficients = cx.empty({3, channels}, DType::f32);
  float* a = coefficients.data<float>();
  const bool folded = cx.device.is_cuda() && folded_norm_backward();
  const float* mean = term.norm.mean.data<float>();
  const NormCoefficients<float> own{.sums = partials.sums.data<float>(),
                                    .rows = rows,
                                    .channels = channels,
                                    .count = nullptr,
                                    .batch_statistics = term.norm.batch_statistics,
                                    .weight = term.norm.weight.data<float>(),
                                    .inv_std = term.norm.inv_std.data<float>(),
                                    .dweight = weight.grad.defined() ? weight.grad.data<float>() : nullptr,
                                    .dbias = bias.grad.defined() ? bias.grad.data<float>() : nullptr,
                                    .accumulate_weight = weight.accumulate,
                                    .accumulate_bias = bias.accumulate,
                                    .a = a,
                                    .b = a + channels,
                                    .d = a + 2 * channels,
                                    .mean = folded ? mean : nullptr};
  for_columns(cx, partials.blocks, channels, own);
  if (term.norm.ranks != nullptr && dx != nullptr) {
    // The rows of all ranks contribute to dx. The gradients of the learned tensors are averaged later, together with
    // all others.
    const Tensor sums = cx.empty({2, channels}, DType::f64);
    for_columns(cx, partials.blocks, channels, RankSums{own.sums, channels, sums.data<double>()});
    term.norm.ranks->all_reduce(sums, Reduce::sum, cx.stream);
    for_columns(cx, 1, channels,
                NormCoefficients<double>{.sums = sums.data<double>(),
                                         .rows = rows,
                                         .channels = channels,
                                         .count = term.norm.count.data<double>(),
                                         .batch_statistics = true,
                                         .weight = own.weight,
                                         .inv_std = own.inv_std,
                                         .dweight = nullptr,
                                         .dbias = nullptr,
                                         .accumulate_weight = false,
                                         .accumulate_bias = false,
                                         .a = own.a,
                                         .b = own.b,
                                         .d = own.d,
                                         .mean = own.mean});
  }
  if (weight.grad.defined() && !weight.bound) cx.tape->add(term.norm.weight, weight.grad);
  if (bias.grad.defined() && !bias.bound) cx.tape->add(term.norm.bias, bias.grad);
  if (dx == nullptr) return;
  const float *scale = term.norm.scale.data<float>(), *shift = term.norm.shift.data<float>();
  if (folded) {
    for_each(cx, rows, channels,
             FoldedNormBackward<T, Relu>{dz, term.x.data<T>(), scale, shift, own.b, own.d, dx, channels});
  } else {
    for_each(cx, rows, channels,
             NormBackward<T, Relu>{dz, term.x.data<T>(), mean, scale, shift, own.a, own.b, own.d, dx, channels});
  }
}

template <class T, bool Relu>
Partials norm_sums(const Context& cx, const SavedTerm& term, const T* dz) {
  const int64_t channels = term.x.dim(3);
  return reduce_rows(cx, term.x.numel() / channels, channels,
                     NormReduce<T, Relu>{dz, term.x.data<T>(), term.norm.mean.data<float>(),
                                         term.norm.scale.data<float>(), term.norm.shift.data<float>(), channels});
}

// Sums dz over the footprint of each pixel of an upsampled term.
template <class T>
void footprint_sum(const Context& cx, const SavedTerm& term, const T* dz, T* dx) {
  const int64_t channels = term.x.dim(3);
  const auto shrink = [&]<int Up>() {
    for_each(cx, term.x.numel() / channels, channels,
             FootprintSum<T, Up>{dz, dx, static_cast<uint32_t>(term.x.dim(1)), static_cast<uint32_t>(term.x.dim(2)),
                                 channels});
  };
  if (term.up == 1) shrink.template operator()<1>();
  if (term.up == 2) shrink.template operator()<2>();
  if (term.up == 3) shrink.template operator()<3>();
}

// Lets the convolution add at most one other addend, apply the mask of ReLU, and reduce for `first`, which may be null.
DeferredDataGradient::Result masked_by_convolution(Context& cx, DeferredDataGradient& conv, std::vector<Tensor> addends,
                                                   const Saved& saved, const SavedTerm* first) {
  GradientEpilogue epilogue;
  if (first != nullptr) {
    epilogue.normalised = first->x.raw();
    epilogue.mean = first->norm.mean.data<float>();
  }
  if (first != nullptr && saved.terms.size() == 1) {
    epilogue.scale = first->norm.scale.data<float>();
    epilogue.shift = first->norm.shift.data<float>();
  } else if (saved.bits.defined()) {
    epilogue.bits = saved.bits.data<uint8_t>();
  } else {
    epilogue.mask = saved.y.raw();
  }
  Tensor addend;
  if (!addends.empty()) addend = std::move(addends[0]);
  return conv.compute(cx, std::move(addend), epilogue);
}

template <class T>
void backward(Context& cx, const Saved& saved) {
  std::vector<Tensor> addends = cx.tape->take(saved.id);
  const bool relu = saved.y.defined() || saved.bits.defined();
  // The gradient of a convolution that waits for its epilogue. It takes one more addend; otherwise it is one itself.
  std::shared_ptr<DeferredAddend> deferred = cx.tape->take_deferred(saved.id);
  auto* conv = relu && addends.size() <= 1 ? dynamic_cast<DeferredDataGradient*>(deferred.get()) : nullptr;
  if (deferred != nullptr && conv == nullptr) addends.push_back(deferred->compute(cx));
  if (addends.empty() && conv == nullptr) return;
  if (addends.size() > 4) {
    Tensor rest = sum(cx, std::span(addends).subspan(3));
    addends.resize(3);
    addends.push_back(std::move(rest));
  }

  // 1. dz is the masked sum of the addends. The same pass computes the reductions of the first normalised term of full
  // resolution.
  const SavedTerm* first = nullptr;
  for (const SavedTerm& term : saved.terms) {
    if (term.normalised && term.up == 0 && first == nullptr) first = &term;
  }
  // ReLU of one normalised tensor that is used once: only the two passes for that tensor need the masked gradient, and
  // they apply the mask themselves.
  const bool mask_later = relu && conv == nullptr && addends.size() == 1 && saved.terms.size() == 1 && first != nullptr;
  Tensor dz;
  Partials first_sums;
  if (conv != nullptr) {
    DeferredDataGradient::Result result = masked_by_convolution(cx, *conv, std::move(addends), saved, first);
    dz = std::move(result.dx);
    if (first != nullptr) first_sums = {result.sums, result.sums.dim(0)};
  } else if (!relu || mask_later) {
    dz = addends.size() == 1 ? std::move(addends[0]) : sum(cx, addends);
  } else {
    dz = addends[0].unique() ? addends[0] : cx.empty(saved.shape, addends[0].dtype());
    if constexpr (sizeof(T) == sizeof(bf16)) {
      if (saved.bits.defined()) first_sums = masked_sum<T, true>(cx, saved, addends, first, dz);
    }
    if (saved.y.defined()) first_sums = masked_sum<T, false>(cx, saved, addends, first, dz);
  }
  addends.clear();

  // 2. The terms that only read dz: upsampled ones, normalised ones after the first, and plain ones (which share dz).
  for (const SavedTerm& term : saved.terms) {
    if (&term == first) continue;
    if (term.up == 0 && !term.normalised) {
      if (term.x.requires_grad()) add_gradient(cx, term.x, dz);
      continue;
    }
    Tensor dx = cx.empty(term.x.shape(), term.x.dtype());
    const T* at = dz.data<T>();
    if (term.up > 0) {
      footprint_sum(cx, term, dz.data<T>(), dx.data<T>());
      at = dx.data<T>();
    }
    if (term.normalised) {
      norm_backward<T, false>(cx, term, at, norm_sums<T, false>(cx, term, at),
                              term.x.requires_grad() ? dx.data<T>() : nullptr);
    }
    if (term.x.requires_grad()) add_gradient(cx, term.x, std::move(dx));
  }

  // 3. The first normalised term, in place over dz if nothing else needs dz.
  if (first == nullptr) return;
  const auto finish = [&]<bool Relu>() {
    if (!first_sums.sums.defined()) first_sums = norm_sums<T, Relu>(cx, *first, dz.data<T>());
    Tensor dx = dz.unique() ? dz : cx.empty(saved.shape, dz.dtype());
    norm_backward<T, Relu>(cx, *first, dz.data<T>(), first_sums, first->x.requires_grad() ? dx.data<T>() : nullptr);
    if (first->x.requires_grad()) add_gradient(cx, first->x, std::move(dx));
  };
  mask_later ? finish.template operator()<true>() : finish.template operator()<false>();
}

}  // namespace

Tensor fuse(Context& cx, const std::vector<FuseTerm>& terms, Act act) {
  check(!terms.empty() && terms.size() <= kMaxTerms, "fuse: expected 1 to {} terms, got {}", kMaxTerms, terms.size());
  const Tensor& x0 = terms[0].x;
  check(x0.rank() == 4, "fuse: expected terms of [N, H, W, C], got {}", to_string(x0.shape()));
  for (const FuseTerm& t : terms) check(t.up >= 0 && t.up <= 3, "fuse: upsampling by 2^{} is not in 2^0 .. 2^3", t.up);
  const Shape shape{x0.dim(0), x0.dim(1) << terms[0].up, x0.dim(2) << terms[0].up, x0.dim(3)};
  check(numel(shape) / shape[3] < int64_t{1} << 32, "fuse: output {} has more than 2^32 pixels", to_string(shape));
  bool requires_grad = false;
  for (const FuseTerm& t : terms) {
    const Shape expected{shape[0], shape[1] >> t.up, shape[2] >> t.up, shape[3]};
    check(t.x.shape() == expected && expected[1] << t.up == shape[1] && expected[2] << t.up == shape[2] &&
              t.x.dtype() == x0.dtype(),
          "fuse: a term upsampled {}x must be {} for an output {}, got {}", 1 << t.up, to_string(expected),
          to_string(shape), to_string(t.x.shape()));
    if (t.norm != nullptr) {
      check(t.norm->scale.numel() == shape[3], "fuse: a normalisation of {} channels does not fit a term of {}",
            t.norm->scale.numel(), to_string(shape));
      requires_grad |= t.norm->weight.requires_grad() || t.norm->bias.requires_grad();
    }
    requires_grad |= t.x.requires_grad();
  }

  Tensor y = cx.empty(shape, x0.dtype());
  // A single term often needs no mask, because the passes for it compute the mask again. For four terms the bits would
  // take more registers than there are.
  Tensor bits;
  if (cx.recording() && requires_grad && act == Act::relu && (terms.size() == 2 || terms.size() == 3) &&
      y.dtype() == DType::bf16 && shape[3] % 8 == 0 && relu_bits()) {
    bits = cx.empty({y.numel() / 8}, DType::u8);
    terms.size() == 2 ? forward<bf16, 2, true>(cx, terms, y, act, bits)
                      : forward<bf16, 3, true>(cx, terms, y, act, bits);
  } else {
    for_dtype("fuse", y.dtype(), [&]<class T>() {
      for_count(terms.size(), [&]<int N>() { forward<T, N, false>(cx, terms, y, act, {}); });
    });
  }
  if (cx.trace != nullptr) cx.trace->fuse(terms, act, y);
  if (cx.recording() && requires_grad) {
    y.set_requires_grad(true);
    Saved saved{.y = act == Act::relu && !bits.defined() ? y : Tensor(), .bits = bits, .id = y.id(), .shape = shape};
    for (const FuseTerm& t : terms) {
      saved.terms.push_back({t.x, t.norm != nullptr ? *t.norm : Normalised(), t.norm != nullptr, t.up});
    }
    cx.tape->record([saved = std::move(saved), dtype = y.dtype()](Context& bx) {
      for_dtype("fuse", dtype, [&]<class T>() { backward<T>(bx, saved); });
    });
  }
  return y;
}

}  // namespace hr
