#include "hrnet/model/make_context.h"

#include "core/branches.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/conv/backend.h"

namespace hr {

Context make_context(const ContextOptions& o) {
  Context cx;
  cx.device = parse_device(o.device);
  cx.precision = o.amp ? DType::bf16 : DType::f32;
  cx.tf32 = o.tf32;
  cx.exact = o.exact;
  if (o.listener) cx.listener = std::make_shared<const Context::Listener>(o.listener);
  if (o.threads > 0) set_compute_threads(o.threads);
  if (!cx.device.is_cuda()) {
    check_field(!o.tf32, "tf32", "is a number format of GPUs; leave it out with `device` {}", o.device);
    if (o.pin_threads) pin_compute_threads();
    return cx;
  }
  cuda::use_device(cx.device.index);
  const cuda::DeviceInfo info = cuda::device_info(cx.device.index);
  check_field(!o.amp || info.major >= 8, "amp",
              "is not possible: {} (compute capability {}.{}) has no bf16; leave it out", info.name, info.major,
              info.minor);
  constexpr int kBranches = 4;  // Branches of HRNet's last stages that run in parallel.
  cx.stream = cuda::create_stream();
  if (const int count = side_stream_count(kBranches - 1); count > 0) {
    cx.side_streams = std::make_shared<SideStreams>(count);
  }
  cx.allocator = std::make_shared<CachingAllocator>(CachingAllocator::gpu());
  conv_backend(cx);  // Throws Error now if cuDNN is missing, instead of at the first convolution.
  return cx;
}

}  // namespace hr
