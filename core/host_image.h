// Gives access to the numbers of a tensor in host memory. For a tensor on the CPU this is the tensor's own memory, for
// one on a GPU it is a copy. It is used where files are read into parameters or written from them.
#pragma once
#include <vector>

#include "core/context.h"

namespace hr {

class HostImage {
 public:
  // Downloads the numbers if the tensor is on a GPU. f32 only. The tensor must outlive the image.
  HostImage(const Context& cx, const Tensor& tensor);
  HostImage(const HostImage&) = delete;
  HostImage& operator=(const HostImage&) = delete;

  float* data() { return data_; }
  // Returns the address that corresponds to the beginning of `view`, which must be a view of the tensor.
  float* at(const Tensor& view) { return data_ + (view.data<float>() - tensor_.data<float>()); }
  // Uploads the changed numbers to the tensor. On the CPU this does nothing, because the image is the tensor's memory.
  void commit();

 private:
  const Context& cx_;
  const Tensor& tensor_;
  std::vector<float> copy_;
  float* data_;
};

}  // namespace hr
