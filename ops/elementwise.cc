#include "ops/elementwise.h"

#include <array>

#include "ops/conv/backend.h"
#include "ops/dispatch.h"
#include "ops/elementwise_kernel.h"
#include "ops/for_each.h"
#include "ops/reduce.h"

namespace hr {

Tensor sum(Context& cx, std::span<const Tensor> addends) {
  check(!addends.empty(), "sum: nothing to add");
  Tensor total = addends[0];
  for (size_t i = 1; i < addends.size(); ++i) {
    const Tensor& next = addends[i];
    check(next.numel() == total.numel() && next.dtype() == total.dtype(), "sum: {} of {} and {} of {} differ",
          to_string(total.shape()), name_of(total.dtype()), to_string(next.shape()), name_of(next.dtype()));
    Tensor y = i == 1 ? cx.empty(total.shape(), total.dtype()) : total;  // later sums are computed in place
    for_dtype("sum", y.dtype(), [&]<class T>() {
      for_each_flat(cx, y.numel(), Add<T>{total.data<T>(), next.data<T>(), y.data<T>()});
    });
    total = y;
  }
  return total;
}

Tensor take_gradient(Context& cx, uint64_t id) {
  std::vector<Tensor> addends = cx.tape->take(id);
  if (const auto deferred = cx.tape->take_deferred(id)) addends.push_back(deferred->compute(cx));
  return addends.empty() ? Tensor() : sum(cx, addends);
}

void add_gradient(Context& cx, const Tensor& x, Tensor dx) {
  const Tape::Sink sink = cx.tape->sink(x);
  if (!sink.grad.defined()) return cx.tape->add(x, std::move(dx));
  copy_or_add(cx, dx, sink.grad, sink.accumulate);
}

namespace {
Tensor converted(Context& cx, const Tensor& x, DType dtype) {
  Tensor y = cx.empty(x.shape(), dtype);
  for_dtype("cast", x.dtype(), [&]<class From>() {
    for_dtype("cast", dtype, [&]<class To>() {
      for_each_flat(cx, x.numel(), Convert<From, To>{x.data<From>(), y.data<To>()});
    });
  });
  return y;
}

// Checks the second operand, which must either have the shape and type of the first one or hold one number per column.
// Returns true in the second case. Throws Error otherwise.
bool is_per_column(std::string_view op, const Tensor& a, const Tensor& b) {
  if (a.shape() == b.shape() && a.dtype() == b.dtype()) return false;
  const bool fits = a.rank() > 0 && b.shape() == Shape{a.shape().back()} && b.dtype() == DType::f32;
  check(fits, "{}: got {} of {} and {} of {}; expected equal shapes and types, or a second operand [C] f32", op,
        to_string(a.shape()), name_of(a.dtype()), to_string(b.shape()), name_of(b.dtype()));
  return true;
}

// Computes y = x * scale + shift. Scale and shift are [C]; null stands for 1 and 0.
Tensor affine(Context& cx, const Tensor& x, const Tensor* scale, const Tensor* shift) {
  const int64_t channels = x.shape().back();
  Tensor y = cx.empty(x.shape(), x.dtype());
  for_dtype("affine", x.dtype(), [&]<class T>() {
    for_each(cx, x.numel() / channels, channels,
             ColumnAffine<T>{.x = x.data<T>(),
                             .scale = scale != nullptr ? scale->data<float>() : nullptr,
                             .shift = shift != nullptr ? shift->data<float>() : nullptr,
                             .y = y.data<T>(),
                             .channels = channels});
  });
  return y;
}

Tensor product(Context& cx, const Tensor& a, const Tensor& b) {
  Tensor y = cx.empty(a.shape(), a.dtype());
  for_dtype("mul", y.dtype(), [&]<class T>() {
    for_each_flat(cx, y.numel(), Multiply<T>{a.data<T>(), b.data<T>(), y.data<T>()});
  });
  return y;
}

Tensor sum_of_columns(Context& cx, const Tensor& x) {
  Tensor y = cx.empty({x.shape().back()}, DType::f32);
  column_sum(cx, x, y);
  return y;
}
}  // namespace

// d(a + b) = da + db; a number per column is used by every row, so its gradient is the sum over them.
Tensor add(Context& cx, const Tensor& a, const Tensor& b) {
  const bool per_column = is_per_column("add", a, b);
  Tensor y = per_column ? affine(cx, a, nullptr, &b) : sum(cx, std::array{a, b});
  if (!cx.recording() || (!a.requires_grad() && !b.requires_grad())) return y;
  y.set_requires_grad(true);
  cx.tape->record([a, b, per_column, id = y.id()](Context& bx) {
    const Tensor dy = take_gradient(bx, id);
    if (!dy.defined()) return;
    if (a.requires_grad()) add_gradient(bx, a, dy);
    if (b.requires_grad()) add_gradient(bx, b, per_column ? sum_of_columns(bx, dy) : dy);
  });
  return y;
}

// d(a b) = b da + a db.
Tensor mul(Context& cx, const Tensor& a, const Tensor& b) {
  const bool per_column = is_per_column("mul", a, b);
  Tensor y = per_column ? affine(cx, a, &b, nullptr) : product(cx, a, b);
  if (!cx.recording() || (!a.requires_grad() && !b.requires_grad())) return y;
  y.set_requires_grad(true);
  cx.tape->record([a, b, per_column, id = y.id()](Context& bx) {
    const Tensor dy = take_gradient(bx, id);
    if (!dy.defined()) return;
    if (a.requires_grad()) add_gradient(bx, a, per_column ? affine(bx, dy, &b, nullptr) : product(bx, dy, b));
    if (!b.requires_grad()) return;
    const Tensor db = product(bx, dy, a);
    add_gradient(bx, b, per_column ? sum_of_columns(bx, db) : db);
  });
  return y;
}

// d relu(x) = dx where x > 0, and 0 elsewhere.
Tensor relu(Context& cx, const Tensor& x) {
  Tensor y = cx.empty(x.shape(), x.dtype());
  for_dtype("relu", x.dtype(), [&]<class T>() {
    for_each_flat(cx, x.numel(), ReluForward<T>{x.data<T>(), y.data<T>()});
  });
  if (!cx.recording() || !x.requires_grad()) return y;
  y.set_requires_grad(true);
  cx.tape->record([x, id = y.id()](Context& bx) {
    const Tensor dy = take_gradient(bx, id);
    if (!dy.defined()) return;
    const Tensor dx = bx.empty(x.shape(), x.dtype());
    for_dtype("relu", x.dtype(), [&]<class T>() {
      for_each_flat(bx, x.numel(), ReluBackward<T>{x.data<T>(), dy.data<T>(), dx.data<T>()});
    });
    add_gradient(bx, x, dx);
  });
  return y;
}

Tensor cast(Context& cx, const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = converted(cx, x, dtype);
  if (cx.recording() && x.requires_grad()) {
    y.set_requires_grad(true);
    cx.tape->record([x, id = y.id()](Context& bx) {
      const Tensor dy = take_gradient(bx, id);
      if (dy.defined()) add_gradient(bx, x, converted(bx, dy, x.dtype()));
    });
  }
  return y;
}

void round_to(Context& cx, const Tensor& from, const Tensor& to) {
  check(from.numel() == to.numel() && from.dtype() == DType::f32 && to.dtype() == DType::bf16,
        "round_to: {} of {} into {} of {}", to_string(from.shape()), name_of(from.dtype()), to_string(to.shape()),
        name_of(to.dtype()));
  for_each_flat(cx, from.numel(), Convert<float, bf16>{from.data<float>(), to.data<bf16>()});
}

void copy_or_add(Context& cx, const Tensor& from, const Tensor& to, bool add) {
  check(from.numel() == to.numel() && from.dtype() == DType::f32 && to.dtype() == DType::f32, "copy: {} and {} differ",
        to_string(from.shape()), to_string(to.shape()));
  const float* a = from.data<float>();
  float* b = to.data<float>();
  if (add) {
    // The first addend may still be in bf16 (HalfGradients).
    HalfGradients* halves = cx.ops != nullptr ? static_cast<ConvBackend&>(*cx.ops).halves : nullptr;
    if (halves != nullptr && halves->marked(b)) {
      for_each_flat(cx, to.numel(), Convert<bf16, float>{halves->place(b), b});
      halves->mark(b, to.numel(), 0);
    }
    for_each_flat(cx, to.numel(), Add<float>{a, b, b});
  } else {
    for_each_flat(cx, to.numel(), Convert<float, float>{a, b});
  }
}

void copy_unless_finite(Context& cx, const Tensor& loss, const Tensor& from, const Tensor& to) {
  check(from.numel() == to.numel() && from.dtype() == DType::f32 && to.dtype() == DType::f32, "copy: {} and {} differ",
        to_string(from.shape()), to_string(to.shape()));
  check(loss.numel() == 1 && loss.dtype() == DType::f32, "copy: expected one loss, got {}", to_string(loss.shape()));
  for_each_flat(cx, to.numel(), CopyUnlessFinite{loss.data<float>(), from.data<float>(), to.data<float>()});
}

}  // namespace hr
