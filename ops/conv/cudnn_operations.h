// cuDNN, loaded at its first use, and the graphs that describe a convolution to it. For ops/conv/cudnn_conv_cuda.cc.
#pragma once
#include <cudnn_graph.h>

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "ops/conv/library.h"

namespace hr::cudnn_operations {

struct Cudnn {
  decltype(&cudnnGetVersion) version;
  decltype(&cudnnGetErrorString) error;
  decltype(&cudnnGetLastErrorString) last_error;
  decltype(&cudnnCreate) create;
  decltype(&cudnnDestroy) destroy;
  decltype(&cudnnSetStream) set_stream;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor;
  decltype(&cudnnBackendSetAttribute) set;
  decltype(&cudnnBackendGetAttribute) get;
  decltype(&cudnnBackendFinalize) finalize;
  decltype(&cudnnBackendExecute) execute;

  Cudnn();
};

// Throws Error if cuDNN is missing.
const Cudnn& cudnn();
// Throws Error with cuDNN's reason, OutOfMemory if memory is the reason.
void expect(cudnnStatus_t status, std::string_view what);

// One descriptor of the graph API. It is destroyed with its owner.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    expect(cudnn().create_descriptor(type, &handle_), "descriptor");
  }
  ~Descriptor() {
    if (handle_ != nullptr) cudnn().destroy_descriptor(handle_);
  }
  Descriptor(Descriptor&& o) noexcept : handle_(std::exchange(o.handle_, nullptr)) {}
  Descriptor& operator=(Descriptor&& o) noexcept {
    std::swap(handle_, o.handle_);
    return *this;
  }
  cudnnBackendDescriptor_t get() const { return handle_; }

  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                  const void* values) {
    expect(cudnn().set(handle_, name, type, count, values), "attribute");
    return *this;
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    const cudnnBackendDescriptor_t h = other.get();
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &h);
  }
  cudnnStatus_t try_finalize() { return cudnn().finalize(handle_); }
  Descriptor& finalize(std::string_view what) {
    expect(try_finalize(), what);
    return *this;
  }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

// The names of a graph's tensors in a variant pack.
enum Uid : int64_t { kX = 1, kW, kY, kBias, kAdd, kVirtual = 100 };

struct OperationGraph {
  std::vector<Descriptor> parts;  // Tensors and operations must outlive the graph.
  std::optional<Descriptor> graph;
};

// A null `handle` is for a GPU that is not present.
OperationGraph build_graph(cudnnHandle_t handle, const ConvProblem& p);

}  // namespace hr::cudnn_operations
