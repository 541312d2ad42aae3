#include "core/host_image.h"

#include "core/error.h"

namespace hr {

HostImage::HostImage(const Context& cx, const Tensor& tensor) : cx_(cx), tensor_(tensor), data_(nullptr) {
  check(tensor.dtype() == DType::f32, "host image: expected f32, got {}", name_of(tensor.dtype()));
  if (cx.device.is_cuda()) copy_ = to_host(cx, tensor);
  data_ = cx.device.is_cuda() ? copy_.data() : tensor.data<float>();
}

void HostImage::commit() {
  if (cx_.device.is_cuda()) cx_.upload(tensor_, std::as_bytes(std::span(copy_)));
}

}  // namespace hr
