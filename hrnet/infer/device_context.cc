#include "hrnet/infer/device_context.h"

#include "core/branches.h"
#include "core/error.h"
#include "ops/conv/backend.h"

namespace hr {

Context device_context(const std::string& device, bool bf16, bool tf32) {
  Context cx;
  cx.device = parse_device(device);
  cx.precision = bf16 ? DType::bf16 : DType::f32;
  cx.tf32 = tf32;
  if (!cx.device.is_cuda()) {
    check(!tf32, "tf32 is a number format of GPUs; the device is {}", device);
    return cx;
  }
  cuda::use_device(cx.device.index);
  const cuda::DeviceInfo info = cuda::device_info(cx.device.index);
  check(!bf16 || info.major >= 8, "{}: {} (compute capability {}.{}) has no bf16", device, info.name, info.major,
        info.minor);
  constexpr int kBranches = 4;  // of HRNet's last stages
  cx.stream = cuda::create_stream();
  if (const int count = side_stream_count(kBranches - 1); count > 0) {
    cx.side_streams = std::make_shared<SideStreams>(count);
  }
  cx.allocator = std::make_shared<CachingAllocator>(CachingAllocator::gpu());
  conv_backend(cx);  // a missing cuDNN is told now, not at the first convolution
  return cx;
}

}  // namespace hr
