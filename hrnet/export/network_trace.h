// A NetworkTrace holds one run of a network as a list of ops over numbered values. It is recorded by running the
// network's own forward function (ops/trace.h), so that export needs no second definition of a network.
#pragma once
#include <cstdint>
#include <variant>
#include <vector>

#include "ops/trace.h"

namespace hr {

// Values are identified by Tensor::id(); 0 means that there is no value. Activations have the shape [N, H, W, C].
struct TracedOps {
  struct Conv {
    uint64_t x, filter, bias, add, y;
    int64_t kernel_h, kernel_w, in, out;
    int stride, pad;
    bool transposed, depthwise, relu, silu;
  };
  struct Norm {
    uint64_t x, weight, scale;  // The learned weight, and Normalised::scale, by which a fuse refers to this batch norm.
    double epsilon;
  };
  struct Term {
    uint64_t x, scale;  // The scale identifies the Norm that is applied to x; 0 means that none is applied.
    int up;
  };
  struct Fuse {
    std::vector<Term> terms;
    bool relu;
    uint64_t y;
  };
  struct Pool {
    uint64_t x, y;
    MaxPool2d options;
  };
  struct Concat {
    std::vector<Term> terms;
    uint64_t y;
  };
  struct Pixels {
    uint64_t x, table;
    TablePart part;
  };
};
using TracedOp = std::variant<TracedOps::Conv, TracedOps::Norm, TracedOps::Fuse, TracedOps::Pool, TracedOps::Concat,
                              TracedOps::Pixels>;

class NetworkTrace final : public OpTrace {
 public:
  const std::vector<TracedOp>& ops() const { return ops_; }

  void conv(const TracedConv& c) override;
  void batch_norm(const Tensor& x, const BatchNormState& state, const Normalised& result) override;
  void fuse(std::span<const FuseTerm> terms, Act act, const Tensor& y) override;
  void max_pool(const Tensor& x, const MaxPool2d& options, const Tensor& y) override;
  void concat(std::span<const ConcatTerm> terms, const Tensor& y) override;
  void put_pixels(const Tensor& x, const Tensor& table, const TablePart& part) override;

 private:
  std::vector<TracedOp> ops_;
};

}  // namespace hr
