// A tensor's numbers in host memory: the tensor's own memory on the CPU, a copy of it for a tensor on a GPU. For the
// few places where files meet parameters.
#pragma once
#include <vector>

#include "core/context.h"

namespace hr {

class HostImage {
 public:
  // Downloads from a GPU. f32 only. The tensor must outlive the image.
  HostImage(const Context& cx, const Tensor& tensor);
  HostImage(const HostImage&) = delete;
  HostImage& operator=(const HostImage&) = delete;

  float* data() { return data_; }
  // Where a view of the tensor lies.
  float* at(const Tensor& view) { return data_ + (view.data<float>() - tensor_.data<float>()); }
  // Makes what was written here the tensor's. Nothing happens on the CPU, where it already is.
  void commit();

 private:
  const Context& cx_;
  const Tensor& tensor_;
  std::vector<float> copy_;
  float* data_;
};

}  // namespace hr
