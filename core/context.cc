#include "core/context.h"

#include <cstring>
#include <utility>

#include "core/error.h"

namespace hr {

Tensor Context::empty(Shape shape, DType dtype) const {
  const size_t bytes = static_cast<size_t>(numel(shape)) * size_of(dtype);
  return {std::make_shared<Storage>(allocator, bytes), std::move(shape), dtype, device};
}

Tensor Context::zeros(Shape shape, DType dtype) const {
  Tensor t = empty(std::move(shape), dtype);
  zero(t);
  return t;
}

void Context::zero(const Tensor& t) const {
  if (device.is_cuda()) return cuda::zero(t.raw(), t.bytes(), stream);
  std::memset(t.raw(), 0, t.bytes());
}

void Context::upload(const Tensor& to, std::span<const std::byte> from) const {
  check(from.size() == to.bytes(), "upload: {} bytes for a tensor {} of {} bytes", from.size(), to_string(to.shape()),
        to.bytes());
  if (device.is_cuda()) {
    cuda::copy(to.raw(), from.data(), from.size(), cuda::Copy::host_to_device, stream);
    return cuda::synchronize(stream);
  }
  std::memcpy(to.raw(), from.data(), from.size());
}

void Context::download(const Tensor& from, std::span<std::byte> to) const {
  check(to.size() == from.bytes(), "download: {} bytes for a tensor {} of {} bytes", to.size(), to_string(from.shape()),
        from.bytes());
  if (device.is_cuda()) {
    cuda::copy(to.data(), from.raw(), to.size(), cuda::Copy::device_to_host, stream);
    return cuda::synchronize(stream);
  }
  std::memcpy(to.data(), from.raw(), to.size());
}

std::vector<float> to_host(const Context& cx, const Tensor& t) {
  check(t.dtype() == DType::f32, "to_host: expected f32, got {}", name_of(t.dtype()));
  std::vector<float> values(static_cast<size_t>(t.numel()));
  cx.download(t, std::as_writable_bytes(std::span(values)));
  return values;
}

}  // namespace hr
