#include "ops/elementwise.h"

#include "ops/dispatch.h"
#include "ops/elementwise_kernel.h"
#include "ops/for_each.h"

namespace hr {

Tensor sum(Context& cx, std::span<const Tensor> addends) {
  check(!addends.empty(), "sum: nothing to add");
  Tensor total = addends[0];
  for (size_t i = 1; i < addends.size(); ++i) {
    const Tensor& next = addends[i];
    check(next.numel() == total.numel() && next.dtype() == total.dtype(), "sum: {} of {} and {} of {} differ",
          to_string(total.shape()), name_of(total.dtype()), to_string(next.shape()), name_of(next.dtype()));
    Tensor y = i == 1 ? cx.empty(total.shape(), total.dtype()) : total;  // from the second on in place
    for_dtype("sum", y.dtype(), [&]<class T>() {
      for_each_flat(cx, y.numel(), Add<T>{total.data<T>(), next.data<T>(), y.data<T>()});
    });
    total = y;
  }
  return total;
}

Tensor take_gradient(Context& cx, uint64_t id) {
  const std::vector<Tensor> addends = cx.tape->take(id);
  return addends.empty() ? Tensor() : sum(cx, addends);
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
}  // namespace

Tensor cast(Context& cx, const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = converted(cx, x, dtype);
  if (cx.recording() && x.requires_grad()) {
    y.set_requires_grad(true);
    cx.tape->record([x, id = y.id()](Context& bx) {
      const Tensor dy = take_gradient(bx, id);
      if (dy.defined()) bx.tape->add(x, converted(bx, dy, x.dtype()));
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
