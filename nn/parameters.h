// A model's parameters and buffers, in state-dict order, on four flat slabs: values, gradients and Adam's two moments
// (the moments belong to the optimiser). One Adam launch, one contiguous gradient, one place to save from.
#pragma once
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "core/context.h"

namespace hr {

// How torch stores a parameter and how we do.
enum class ParameterLayout {
  plain,          // any shape, the same in both: biases, batch norm, free tensors of a model
  filter,         // torch [O, I, kh, kw], ours [O, kh, kw, I]
  deconv_filter,  // torch [I, O, kh, kw], ours [O, kh, kw, I]
};

// Initial values. The official ones are made for networks that load ImageNet weights over them; from scratch, torch's
// learn faster. The heatmap head is N(0, 0.001) in both: heatmaps are almost 0 everywhere.
enum class Init {
  official,  // every convolution N(0, 0.001)
  torch,     // convolutions uniform in +-1/sqrt(fan_in), torch.nn.Conv2d's default; the head official
  none,      // filters stay 0: weights are about to be loaded
};

struct Parameter {
  std::string name;   // PyTorch's: "stage2.0.branches.0.0.conv1.weight"
  Shape torch_shape;  // as in a PyTorch state dict
  ParameterLayout layout = ParameterLayout::plain;
  float initial = 0;   // of a plain one: BN weights 1, biases 0
  int64_t fan_in = 0;  // of a convolution inside the network; 0 for the head, which starts at N(0, 0.001)
  Tensor value, grad;  // our layout; views onto the slabs
  Tensor rounded;      // `value` in bf16, while a ParameterStore::Rounded lives; undefined otherwise

  Shape shape() const;  // our layout
  const Tensor* rounded_filter() const { return rounded.defined() ? &rounded : nullptr; }
};

// Running statistics, f32 [C].
struct Buffer {
  std::string name;
  int64_t channels = 0;
  float initial = 0;
  Tensor value;
};

// num_batches_tracked: an int64 scalar of the state dict.
struct Counter {
  std::string name;
  int64_t value = 0;
};

class ParameterStore {
 public:
  // Declared while the model is built; the references stay valid, their tensors exist after allocate(). A plain
  // parameter starts with all elements at `initial`.
  Parameter& add_parameter(std::string name, Shape torch_shape, ParameterLayout layout, float initial, int64_t fan_in);
  Buffer& add_buffer(std::string name, int64_t channels, float initial);
  Counter& add_counter(std::string name);

  // Makes the slabs and fills in the initial values; random draws are Philox(seed, parameter index).
  void allocate(Context& cx, uint64_t seed, Init init = Init::official);

  // On a GPU under bf16: all values rounded in one pass, for the convolutions of the training step that follows. They
  // read the rounded copy only while the returned object lives, so that nothing outside the step reads a copy that the
  // step's update has made old: there each convolution rounds the values of the moment. Does nothing elsewhere (oneDNN
  // converts while it reorders).
  class Rounded {
   public:
    explicit Rounded(ParameterStore* store) : store_(store) {}
    ~Rounded();
    Rounded(const Rounded&) = delete;
    Rounded& operator=(const Rounded&) = delete;

   private:
    ParameterStore* store_;
  };
  [[nodiscard]] Rounded round_values(Context& cx);

  // All num_batches_tracked, in the order of the entries.
  std::vector<int64_t> counts() const;
  // What a training-mode forward pass does on the host: num_batches_tracked rise, each by its number of `by`, and the
  // version is raised. For the launches of a captured graph, which run nothing on the host.
  void count(const std::vector<int64_t>& by);
  // Takes back what one of them counted, since its loss was not finite. The version stays: it never comes down, or a
  // cache would take later values for those that it knows.
  void uncount(const std::vector<int64_t>& by);

  // Where the store lives: its device, stream and memory. For what shall live as long as the model, and for files.
  const Context& home() const { return home_; }

  // Gradients of recorded steps go to the gradient slab.
  void bind(Tape& tape) const;

  // One state-dict entry, in PyTorch's order.
  struct Entry {
    Parameter* parameter = nullptr;  // exactly one of the three is set
    Buffer* buffer = nullptr;
    Counter* counter = nullptr;
    const std::string& name() const;
    Shape torch_shape() const;
  };
  const std::vector<Entry>& entries() const { return entries_; }
  const std::deque<Parameter>& parameters() const { return parameters_; }
  int64_t parameter_count() const;  // scalars

  Tensor values, grads;  // flat [parameter_count] f32; alignment gaps of the slabs are zero
  Tensor buffers;        // flat, f32

  // Raised by everything that changes values or buffers; folded inference weights compare it.
  uint64_t version = 0;

  // Parameters whose names fit one of these patterns (`*` any characters, `?` one) get no gradient from now on, and no
  // optimiser or TrainStep that is made afterwards changes them. Running statistics of frozen layers still follow the
  // data. Returns how many were frozen. Throws Error, field freeze, for a pattern that fits none, and if nothing is
  // left to learn. After allocate().
  int freeze(std::span<const std::string> patterns);

 private:
  Tensor rounded_;  // bf16, like values; the views of a captured step keep their addresses
  Context home_;
  std::deque<Parameter> parameters_;
  std::deque<Buffer> buffers_;
  std::deque<Counter> counters_;
  std::vector<Entry> entries_;
};

}  // namespace hr
