#include "ops/max_pool2d.h"

#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/for_each.h"
#include "ops/max_pool2d_kernel.h"
#include "ops/trace.h"

namespace hr {

Tensor max_pool2d(Context& cx, const Tensor& x, const MaxPool2d& o) {
  check(x.rank() == 4, "max_pool2d: expected x of [N, H, W, C], got {}", to_string(x.shape()));
  check(o.kernel >= 1 && o.kernel <= 15 && o.stride >= 1 && o.pad >= 0 && 2 * o.pad <= o.kernel,
        "max_pool2d: kernel {}, stride {}, pad {}: pad may be at most half the kernel", o.kernel, o.stride, o.pad);
  check(x.dim(1) + 2 * o.pad >= o.kernel && x.dim(2) + 2 * o.pad >= o.kernel,
        "max_pool2d: input {} is smaller than the kernel", to_string(x.shape()));
  const PoolGeometry g{.h = x.dim(1),
                       .w = x.dim(2),
                       .channels = x.dim(3),
                       .out_h = (x.dim(1) + 2 * o.pad - o.kernel) / o.stride + 1,
                       .out_w = (x.dim(2) + 2 * o.pad - o.kernel) / o.stride + 1,
                       .kernel = o.kernel,
                       .stride = o.stride,
                       .pad = o.pad};
  Tensor y = cx.empty({x.dim(0), g.out_h, g.out_w, g.channels}, x.dtype());
  if (!cx.recording() || !x.requires_grad()) {
    const Operands operands(cx, {&x}, y);
    for_dtype("max_pool2d", x.dtype(), [&]<class T>() {
      for_each(cx, y.numel() / g.channels, g.channels, MaxPoolValues<T>{x.data<T>(), y.data<T>(), g});
    });
    if (cx.trace != nullptr) cx.trace->max_pool(x, o, y);
    return y;
  }
  const Tensor winner = cx.empty(y.shape(), DType::u8);
  for_dtype("max_pool2d", x.dtype(), [&]<class T>() {
    for_each(cx, y.numel() / g.channels, g.channels,
             MaxPoolForward<T>{x.data<T>(), y.data<T>(), winner.data<uint8_t>(), g});
  });
  y.set_requires_grad(true);
  cx.tape->record([x, winner, g, id = y.id()](Context& bx) {
    const Tensor dy = take_gradient(bx, id);
    if (!dy.defined()) return;
    const Tensor dx = bx.empty(x.shape(), x.dtype());
    for_dtype("max_pool2d", x.dtype(), [&]<class T>() {
      for_each(bx, x.numel() / g.channels, g.channels,
               MaxPoolBackward<T>{dy.data<T>(), winner.data<uint8_t>(), dx.data<T>(), g});
    });
    add_gradient(bx, x, dx);
  });
  return y;
}

}  // namespace hr
