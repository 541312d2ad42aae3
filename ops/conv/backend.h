// The interface between conv2d and the libraries: oneDNN on the CPU (ops/conv/dnnl_conv), cuDNN and cuBLASLt on a GPU
// (ops/conv/gpu_conv).
#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/error.h"

namespace hr {

// The shape of one convolution. Activations [n, h, w, ci] -> [n, out_h, out_w, co], filter [co, kh, kw, ci], dense.
struct ConvGeometry {
  int64_t n = 0, h = 0, w = 0, ci = 0, co = 0, kh = 1, kw = 1, stride = 1, pad = 0;
  bool transposed = false;  // A deconvolution: torch's ConvTranspose2d with output_padding 0.
  DType src = DType::f32;   // f32 or bf16. Filters are converted from f32 to this type before they are used.
  DType dst = DType::f32;

  int64_t out_h() const { return transposed ? (h - 1) * stride - 2 * pad + kh : (h + 2 * pad - kh) / stride + 1; }
  int64_t out_w() const { return transposed ? (w - 1) * stride - 2 * pad + kw : (w + 2 * pad - kw) / stride + 1; }
};

// Filters and biases that were reordered or converted for a library, kept for weights that do not change (inference).
// They outlive steps, so their memory comes from an allocator of their own.
struct PackedFilters {
  std::shared_ptr<Allocator> allocator = std::make_shared<CachingAllocator>();
  // On a GPU: one filter and one bias for each type. On the CPU: the filters of ops/conv/row_conv.
  std::map<std::string, Tensor> by_layout;

  // On the CPU: the library chooses a layout for each shape of the input, and most shapes share one. The last few
  // layouts are kept, the most recently used one first, so that the memory is limited to a few times the size of the
  // filters for any sequence of shapes.
  struct Recent {
    int layout = 0;
    Tensor filter;
  };
  static constexpr size_t kMostRecent = 3;
  std::vector<Recent> recent;
};

// The work after a convolution in the same pass, with sum = conv(x, filter) + bias?:
//   none: y = sum + add?   relu: y = max(0, sum + add?)   silu: y = sum sigmoid(sum) + add?
enum class ConvAct : uint8_t { none, relu, silu };

// A filter, and the same filter rounded to bf16 if the caller keeps it in that form (null: it is rounded when it is
// used).
struct ConvFilter {
  const float* f32 = nullptr;
  const bf16* rounded = nullptr;
};

// One of several inputs whose channels are joined: [n, h >> up, w >> up, channels], upsampled to the nearest neighbour.
struct ConvInput {
  const void* x = nullptr;
  int64_t channels = 0;
  int up = 0;
};

// Times for the caller: seconds inside convolution primitives, and inside the filter reorders around them. Both stay 0
// on a GPU, where the host does not know them.
struct ConvClock {
  double primitives = 0, reorders = 0;
  int64_t calls = 0;
};

// Gradients of filters in bf16, collected in a slab that is laid out like the slab of all gradients, until one kernel
// widens them all (ops/gradients.h).
struct HalfGradients {
  Tensor grads;                // [n] f32: the slab of all gradients, n a multiple of kBlock.
  Tensor half;                 // [n] bf16, zero between the parameters.
  std::vector<uint8_t> marks;  // [n / kBlock]: 1 where the gradient of this step is in `half`.
  Tensor device_marks;         // The same on the device, as of the last step.
  std::vector<uint8_t> uploaded;
  static constexpr int64_t kBlock = 16;

  // Returns the place of this gradient in `half`; null if it is not in the slab.
  bf16* place(const float* gradient) const {
    const float* begin = grads.data<float>();
    return gradient >= begin && gradient < begin + grads.numel() ? half.data<bf16>() + (gradient - begin) : nullptr;
  }
  void mark(const float* gradient, int64_t count, uint8_t as) {
    const int64_t first = (gradient - grads.data<float>()) / kBlock, blocks = (count + kBlock - 1) / kBlock;
    std::fill_n(marks.begin() + first, blocks, as);
  }
  bool marked(const float* gradient) const {
    return place(gradient) != nullptr && marks[static_cast<size_t>((gradient - grads.data<float>()) / kBlock)] != 0;
  }
};

// The work that a data gradient does on its result in the same pass over memory. With g = dx + add, dx becomes
// g where the mask is positive and 0 elsewhere. All tensors have the shape and type of dx.
struct GradientEpilogue {
  const void* add = nullptr;   // May be null.
  const void* mask = nullptr;  // The result of a ReLU; null: see bits.
  // [pixels, ci / 8]: the signs of that result in place of it (ops/signs.h); null: see scale.
  const uint8_t* bits = nullptr;
  // The input of a batch norm and its mean [ci]. The sums of dx and of dx (normalised - mean) are computed. Both are
  // null if no sums are needed.
  const void* normalised = nullptr;
  const float* mean = nullptr;
  // [ci]; may be null. With neither a mask nor bits, the mask is `normalised` * scale + shift, which saves reading the
  // result of the ReLU.
  const float *scale = nullptr, *shift = nullptr;
};

class ConvBackend : public OpState {
 public:
  // Computes y by the formula of ConvAct. bias is [co] f32, add has the shape and type of y. `packed` may be null.
  virtual void forward(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter, const float* bias,
                       const void* add, ConvAct act, void* y, PackedFilters* packed) = 0;
  // Returns whether y and `add` of forward() may be the same memory. The answer for a geometry does not change.
  virtual bool allows_y_over_add(const Context&, const ConvGeometry&, bool /*packed*/) const { return false; }
  // Returns whether forward_joined() may be called.
  virtual bool joins(const Context&) const { return false; }
  // Computes the 1x1 convolution of several f32 inputs with `g.ci` channels together, without a copy that joins them.
  // At least one input has the full size, and all others that are upsampled are so by the same factor.
  virtual void forward_joined(const Context&, const ConvGeometry&, std::span<const ConvInput>, ConvFilter, const float*,
                              ConvAct, void*, PackedFilters*) {
    fail("this backend cannot join the inputs of a convolution");
  }
  // Computes dx from dy, both of dtype g.src.
  virtual void backward_data(const Context& cx, const ConvGeometry& g, const void* dy, ConvFilter filter, void* dx) = 0;

  // Epilogues for training, which save passes over memory. A backend need not have them.
  // Computes y without bias, and in the same pass its statistics [parts, 4, co] f32: for each part the number of its
  // pixels, a shift, and the sums of y - shift and of its square (y rounded to its type). The order of the sums depends
  // on the shape and on the device. Returns an undefined tensor, and computes nothing, where the backend does not do
  // this.
  virtual Tensor forward_with_statistics(const Context&, const ConvGeometry&, const void* /*x*/, ConvFilter,
                                         void* /*y*/) {
    return {};
  }
  // Tells whether backward_data_with_epilogue() may be called for this geometry.
  virtual bool has_gradient_epilogue(const ConvGeometry&) const { return false; }
  // Returns the sums [parts, 2, ci] f32 of the epilogue, undefined if none are needed. dx may be epilogue.add.
  virtual Tensor backward_data_with_epilogue(const Context&, const ConvGeometry&, const void* /*dy*/, ConvFilter,
                                             void* /*dx*/, const GradientEpilogue&) {
    return {};
  }

  // Computes dfilter [co, kh, kw, ci] f32 and dbias [co] f32 (may be null) from x and dy, both of dtype g.src.
  virtual void backward_filter(const Context& cx, const ConvGeometry& g, const void* x, const void* dy, float* dfilter,
                               float* dbias) = 0;
  // For example "oneDNN 2.6.3, avx512_core_bf16"; printed above measurements.
  virtual std::string description() const = 0;

  ConvClock clock;

  // Set while all these ranks do the same work on the same shapes, as in a training step. If a convolution has several
  // kernels, all ranks run the one that rank 0 chooses, so that a run with the same ranks gives the same bytes
  // whichever of them measured. The first call of each shape is then a collective. Null: each rank chooses for itself.
  Comm* ranks = nullptr;

  // Set during a backward pass: where filter gradients in bf16 are collected. Null: they are widened one by one.
  HalfGradients* halves = nullptr;
};

// Returns the context's backend, which is made at the first use: oneDNN or cuDNN, by the device. Throws Error if cuDNN
// cannot be loaded.
ConvBackend& conv_backend(Context& cx);

}  // namespace hr
