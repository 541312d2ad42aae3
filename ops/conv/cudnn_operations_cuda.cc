#include "ops/conv/cudnn_operations.h"

#include <array>
#include <string>

#include "core/cuda.h"
#include "core/shared_library.h"

namespace hr::cudnn_operations {

Cudnn::Cudnn() {
  const SharedLibrary library("cuDNN", {"libcudnn.so.9"}, "install cuDNN 9, or add its folder to LD_LIBRARY_PATH");
  library.bind(version, "cudnnGetVersion");
  library.bind(error, "cudnnGetErrorString");
  library.bind(last_error, "cudnnGetLastErrorString");
  library.bind(create, "cudnnCreate");
  library.bind(destroy, "cudnnDestroy");
  library.bind(set_stream, "cudnnSetStream");
  library.bind(create_descriptor, "cudnnBackendCreateDescriptor");
  library.bind(destroy_descriptor, "cudnnBackendDestroyDescriptor");
  library.bind(set, "cudnnBackendSetAttribute");
  library.bind(get, "cudnnBackendGetAttribute");
  library.bind(finalize, "cudnnBackendFinalize");
  library.bind(execute, "cudnnBackendExecute");
}

const Cudnn& cudnn() {
  static const Cudnn library;
  return library;
}

void expect(cudnnStatus_t status, std::string_view what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 512> why{};  // cuDNN's message about the last call of this thread; it is often empty.
  cudnn().last_error(why.data(), why.size());
  const std::string text =
      fmt::format("cuDNN: {}: {}{}{}", what, cudnn().error(status), why[0] == 0 ? "" : ": ", why.data());
  if (status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)
    throw OutOfMemory("out of GPU memory: " + text, 0);
  throw Error(text);
}

namespace {

cudnnDataType_t type_of(DType t) { return t == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT; }

// `d` are the dimensions in cuDNN's order (n, c, h, w); the memory is dense n, h, w, c.
Descriptor tensor(int64_t uid, std::array<int64_t, 4> d, DType type, bool is_virtual = false) {
  const std::array<int64_t, 4> strides{d[1] * d[2] * d[3], 1, d[3] * d[1], d[1]};
  const int64_t alignment = 16;
  const cudnnDataType_t data_type = type_of(type);
  Descriptor t(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &data_type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, d.data())
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides.data())
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
  if (is_virtual) t.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
  t.finalize("tensor");
  return t;
}

// y = mode(x, b); b may be null.
Descriptor pointwise(cudnnPointwiseMode_t mode, const Descriptor& x, const Descriptor* b, const Descriptor& y) {
  const cudnnDataType_t math = CUDNN_DATA_FLOAT;
  Descriptor p(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  p.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &math)
      .finalize("pointwise");
  Descriptor op(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, p)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  if (b != nullptr) op.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
  op.finalize("pointwise operation");
  return op;
}

// A deconvolution is a convolution seen from its output: its forward pass is that convolution's gradient of the data,
// and so on. The channel dimensions of the filter change places (gpu_conv_kernel.h).
struct Mirror {
  std::array<int64_t, 4> x, w, y;  // Of the convolution that cuDNN runs: n, c, h, w and k, c, r, s.
  ConvProblem::Pass pass;
};
Mirror mirror_of(const ConvProblem& p) {
  using Pass = ConvProblem::Pass;
  const ConvGeometry& g = p.geometry;
  const std::array in{g.n, g.ci, g.h, g.w}, out{g.n, g.co, g.out_h(), g.out_w()};
  if (!g.transposed) return {in, {g.co, g.ci, g.kh, g.kw}, out, p.pass};
  const Pass pass = p.pass == Pass::forward         ? Pass::backward_data
                    : p.pass == Pass::backward_data ? Pass::forward
                                                    : Pass::backward_filter;
  return {out, {g.ci, g.co, g.kh, g.kw}, in, pass};
}

Descriptor convolution(const ConvGeometry& g) {
  const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  const std::array<int64_t, 2> pad{g.pad, g.pad}, stride{g.stride, g.stride}, dilation{1, 1};
  const int64_t spatial = 2;
  Descriptor conv(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  conv.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode)
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad.data())
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad.data())
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride.data())
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation.data())
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &spatial)
      .finalize("convolution");
  return conv;
}

// Only some engines of cuDNN read alpha and beta in the type in which they are declared. The ready-made ones read
// four bytes in the compute type, and the first four bytes of a double 1.0 are 0, which would make every result 0.
constexpr float kOne = 1, kZero = 0;

// Collects the tensors and the operations of a graph.
class GraphBuilder {
 public:
  explicit GraphBuilder(const ConvProblem& p) : p_(p), m_(mirror_of(p)), conv_(keep(convolution(p.geometry))) {
    m_.pass == ConvProblem::Pass::backward_filter ? add_filter_gradient() : add_convolution();
  }

  OperationGraph finish(cudnnHandle_t handle) && {
    std::vector<cudnnBackendDescriptor_t> ops;
    ops.reserve(operations_.size());
    for (const size_t i : operations_) ops.push_back(graph_.parts[i].get());
    Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(ops.size()),
              ops.data());
    if (handle != nullptr) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    graph.finalize("operation graph");
    graph_.graph = std::move(graph);
    return std::move(graph_);
  }

 private:
  size_t keep(Descriptor d) {
    graph_.parts.push_back(std::move(d));
    return graph_.parts.size() - 1;
  }
  void operation(Descriptor d) { operations_.push_back(keep(std::move(d))); }
  Descriptor& part(size_t i) { return graph_.parts[i]; }

  // The element type is src everywhere, except for the forward result and the gradient of the filter.
  void add_filter_gradient() {
    const ConvGeometry& g = p_.geometry;
    const bool deconv = g.transposed;
    const size_t x = keep(tensor(deconv ? kY : kX, m_.x, g.src)), y = keep(tensor(deconv ? kX : kY, m_.y, g.src));
    const size_t w = keep(tensor(kW, m_.w, g.dst));
    Descriptor op(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, part(conv_))
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, part(x))
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, part(y))
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, part(w))
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_TYPE_FLOAT, 1, &kOne)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, CUDNN_TYPE_FLOAT, 1, &kZero)
        .finalize("gradient of a filter");
    operation(std::move(op));
  }

  void add_convolution() {
    const ConvGeometry& g = p_.geometry;
    using Pass = ConvProblem::Pass;
    // The pass writes y (forward) or x (data). For a deconvolution it is the other way round.
    const bool writes_y = m_.pass == Pass::forward;
    const auto& out = writes_y ? m_.y : m_.x;
    const DType out_type = p_.pass == Pass::forward ? g.dst : g.src;
    const int64_t out_uid = p_.pass == Pass::forward ? kY : kX, in_uid = p_.pass == Pass::forward ? kX : kY;
    const size_t w = keep(tensor(kW, m_.w, g.src));
    const size_t in = keep(tensor(in_uid, writes_y ? m_.x : m_.y, g.src));
    const auto final = [&] { return keep(tensor(out_uid, out, out_type)); };
    const bool epilogue = p_.bias || p_.add || p_.relu;
    const size_t at = epilogue ? intermediate(out) : final();
    if (writes_y) {
      Descriptor op(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
      op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, part(conv_))
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, part(in))
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, part(w))
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, part(at))
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &kOne)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &kZero)
          .finalize("convolution operation");
      operation(std::move(op));
    } else {
      Descriptor op(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
      op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, part(conv_))
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, part(in))
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, part(w))
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, part(at))
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, 1, &kOne)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT, 1, &kZero)
          .finalize("gradient of the data");
      operation(std::move(op));
    }
    if (epilogue) add_epilogue(at, out, final);
  }

  size_t intermediate(const std::array<int64_t, 4>& dims) { return keep(tensor(virtuals_++, dims, DType::f32, true)); }

  // The operations after the convolution, whose result is `at`.
  template <class Final>
  void add_epilogue(size_t at, const std::array<int64_t, 4>& out, const Final& final) {
    const ConvGeometry& g = p_.geometry;
    // The summand comes before the bias, which is the order in cuDNN's ready-made kernels.
    const auto then = [&](cudnnPointwiseMode_t what, const size_t* b, bool last) {
      const size_t next = last ? final() : intermediate(out);
      operation(pointwise(what, part(at), b != nullptr ? &part(*b) : nullptr, part(next)));
      at = next;
    };
    if (p_.add) {
      const size_t add = keep(tensor(kAdd, out, g.dst));
      then(CUDNN_POINTWISE_ADD, &add, !p_.bias && !p_.relu);
    }
    if (p_.bias) {
      const size_t bias = keep(tensor(kBias, {1, g.co, 1, 1}, g.dst));
      then(CUDNN_POINTWISE_ADD, &bias, !p_.relu);
    }
    if (p_.relu) then(CUDNN_POINTWISE_RELU_FWD, nullptr, true);
  }

  const ConvProblem& p_;
  const Mirror m_;
  OperationGraph graph_;
  std::vector<size_t> operations_;
  int64_t virtuals_ = kVirtual;
  size_t conv_;
};

}  // namespace

OperationGraph build_graph(cudnnHandle_t handle, const ConvProblem& p) { return GraphBuilder(p).finish(handle); }

}  // namespace hr::cudnn_operations
