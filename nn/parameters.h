// The parameters and buffers of a model, in the order of the state dict. Values and gradients lie in two flat slabs;
// the optimiser has slabs of the same layout for Adam's moments. So one kernel launch updates all parameters, and all
// gradients can be averaged over the ranks as contiguous memory.
#pragma once
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "core/context.h"

namespace hr {

// How a parameter is laid out in PyTorch's state dict and in our memory.
enum class ParameterLayout {
  plain,          // Any shape, the same in both: biases, batch norm, free tensors.
  filter,         // torch [O, I, kh, kw], ours [O, kh, kw, I].
  deconv_filter,  // torch [I, O, kh, kw], ours [O, kh, kw, I].
};

// How the initial values are chosen. The official ones are meant for networks whose backbone is then replaced by
// ImageNet weights; when training from scratch, PyTorch's default learns faster. The heatmap head is N(0, 0.001) in
// both, since heatmaps are almost 0 everywhere.
enum class Init {
  official,  // Every convolution N(0, 0.001).
  torch,     // Convolutions uniform in +-1/sqrt(fan_in), the default of torch.nn.Conv2d; the head as official.
  none,      // Filters stay 0, since weights will be loaded.
};

// Says what a model will be used for, which decides how much memory it allocates.
enum class Purpose {
  training,
  // There is no memory for gradients, and layers fold batch norm into the memory of the parameters when they first run.
  // So inference needs the memory of one set of weights. From then on the state dict has other numbers, which give the
  // same function, except for rounding; weights may be loaded anew at any time.
  inference,
};

struct Parameter {
  std::string name;   // PyTorch's name: "stage2.0.branches.0.0.conv1.weight"
  Shape torch_shape;  // As in PyTorch's state dict.
  ParameterLayout layout = ParameterLayout::plain;
  float initial = 0;   // For a plain parameter: batch norm weights 1, biases 0.
  int64_t fan_in = 0;  // The inputs of one output of a convolution; 0 for a heatmap head, which starts at N(0, 0.001).
  Tensor value, grad;  // In our layout; views of the slabs.
  Tensor rounded;      // `value` as bf16 while a ParameterStore::Rounded exists; undefined otherwise.

  Shape shape() const;  // In our layout.
  const Tensor* rounded_filter() const { return rounded.defined() ? &rounded : nullptr; }
};

// Running statistics, f32 [C].
struct Buffer {
  std::string name;
  int64_t channels = 0;
  float initial = 0;
  Tensor value;
};

// num_batches_tracked of a batch norm: an int64 scalar of the state dict, kept on the host.
struct Counter {
  std::string name;
  int64_t value = 0;
};

class ParameterStore {
 public:
  // These declare entries while the model is built. The returned references stay valid as long as the store; their
  // tensors exist after allocate(). All elements of a plain parameter start at `initial`.
  Parameter& add_parameter(std::string name, Shape torch_shape, ParameterLayout layout, float initial, int64_t fan_in);
  Buffer& add_buffer(std::string name, int64_t channels, float initial);
  Counter& add_counter(std::string name);

  // Allocates the slabs from cx and sets the initial values. Random values are drawn from Philox(seed, index of the
  // parameter), so they do not depend on the device or the number of threads.
  void allocate(Context& cx, uint64_t seed, Init init = Init::official, Purpose purpose = Purpose::training);
  Purpose purpose() const { return purpose_; }

  // On a GPU under bf16, rounds all values in one pass for the convolutions of the training step that follows. The
  // convolutions read the rounded copy only while the returned object exists. Outside of a step each convolution rounds
  // the current values itself, so that nothing reads a copy that is older than the last update. Does nothing on other
  // devices and precisions, since oneDNN converts while it reorders.
  enum class Rounding {
    now,         // This call rounds the values.
    with_update  // refresh_rounded() has done so, and the optimiser writes the rounded values together with the values.
  };
  class Rounded {
   public:
    explicit Rounded(ParameterStore* store) : store_(store) {}
    ~Rounded();
    Rounded(const Rounded&) = delete;
    Rounded& operator=(const Rounded&) = delete;

   private:
    ParameterStore* store_;
  };
  [[nodiscard]] Rounded round_values(Context& cx, Rounding rounding = Rounding::now);
  // For steps with Rounding::with_update, which may be captured. refresh_rounded() must be called before each of them,
  // outside of a capture; it rounds the values if something else than such a step may have changed them, as `version`
  // tells. note_rounded() must be called after each of them. Both do nothing where round_values() does nothing.
  void refresh_rounded(Context& cx);
  void note_rounded() { rounded_version_ = version; }
  // The copy that an optimiser must keep up to date: defined only while a Rounded with Rounding::with_update exists.
  const Tensor& rounded_with_update() const { return with_update_; }

  // The values of all num_batches_tracked, in the order of the entries.
  std::vector<int64_t> counts() const;
  // Adds by[i] to the i-th num_batches_tracked and increments the version. A forward pass in training mode does this on
  // the host. A captured graph runs nothing on the host, so whoever launches one must call this function.
  void count(const std::vector<int64_t>& by);
  // Subtracts by[i] again, for a step whose loss was not finite. The version stays as it is: if it went back, a cache
  // could mistake later values for the ones that it knows.
  void uncount(const std::vector<int64_t>& by);

  // Returns a context with the device, stream and allocator of the store. Use it for memory that lives as long as the
  // model, and for reading and writing files.
  const Context& home() const { return home_; }

  // Makes backward() add the gradients of the parameters to the gradient slab.
  // Throws Error if the store was allocated for inference.
  void bind(Tape& tape) const;

  // One entry of the state dict; entries() has them in PyTorch's order.
  struct Entry {
    Parameter* parameter = nullptr;  // Exactly one of the three is set.
    Buffer* buffer = nullptr;
    Counter* counter = nullptr;
    const std::string& name() const;
    Shape torch_shape() const;
  };
  const std::vector<Entry>& entries() const { return entries_; }
  const std::deque<Parameter>& parameters() const { return parameters_; }
  int64_t parameter_count() const;  // Number of scalars.

  Tensor values, grads;  // Flat f32 slabs; the gaps between parameters, for alignment, are zero. For inference there
                         // are no gradients.
  Tensor buffers;        // Flat, f32.

  // Raised by everything that changes values or buffers, so that caches of folded weights can tell whether they are up
  // to date.
  uint64_t version = 0;

  // Freezes the parameters whose names match one of these patterns (`*` stands for any characters, `?` for one): they
  // get no gradient from now on, and an optimiser or TrainStep that is made afterwards does not change them. The
  // running statistics of frozen layers still follow the data. Call it after allocate(). Returns the number of frozen
  // parameters. Throws Error with the field freeze if a pattern matches no parameter or if nothing is left to learn.
  int freeze(std::span<const std::string> patterns);

 private:
  Purpose purpose_ = Purpose::training;
  Tensor rounded_;      // bf16, laid out like `values`. It is never freed, because captured graphs contain its address.
  Tensor with_update_;  // This is `rounded_` or undefined.
  uint64_t rounded_version_ = 0;  // The version whose values `rounded_` holds; 0 if it is not known.
  Context home_;
  std::deque<Parameter> parameters_;
  std::deque<Buffer> buffers_;
  std::deque<Counter> counters_;
  std::vector<Entry> entries_;
};

}  // namespace hr
