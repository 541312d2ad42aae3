#include "hrnet/export/network_trace.h"

namespace hr {

void NetworkTrace::conv(const TracedConv& c) {
  // A depthwise filter has the shape [k, k, C]; any other filter has the shape [O, kh, kw, I].
  const size_t first = c.depthwise ? 0 : 1;
  ops_.push_back(TracedOps::Conv{.x = c.x.id(),
                                 .filter = c.filter.id(),
                                 .bias = c.bias != nullptr ? c.bias->id() : 0,
                                 .add = c.add != nullptr ? c.add->id() : 0,
                                 .y = c.y.id(),
                                 .kernel_h = c.filter.dim(first),
                                 .kernel_w = c.filter.dim(first + 1),
                                 .in = c.x.dim(3),
                                 .out = c.y.dim(3),
                                 .stride = c.stride,
                                 .pad = c.pad,
                                 .transposed = c.transposed,
                                 .depthwise = c.depthwise,
                                 .relu = c.relu,
                                 .silu = c.silu});
}

void NetworkTrace::batch_norm(const Tensor& x, const BatchNormState& state, const Normalised& result) {
  ops_.push_back(TracedOps::Norm{x.id(), state.weight.id(), result.scale.id(), state.eps});
}

void NetworkTrace::fuse(std::span<const FuseTerm> terms, Act act, const Tensor& y) {
  TracedOps::Fuse op{.terms = {}, .relu = act == Act::relu, .y = y.id()};
  for (const FuseTerm& t : terms) op.terms.push_back({t.x.id(), t.norm != nullptr ? t.norm->scale.id() : 0, t.up});
  ops_.push_back(std::move(op));
}

void NetworkTrace::max_pool(const Tensor& x, const MaxPool2d& options, const Tensor& y) {
  ops_.push_back(TracedOps::Pool{x.id(), y.id(), options});
}

void NetworkTrace::concat(std::span<const ConcatTerm> terms, const Tensor& y) {
  TracedOps::Concat op{.terms = {}, .y = y.id()};
  for (const ConcatTerm& t : terms) op.terms.push_back({t.x.id(), 0, t.up});
  ops_.push_back(std::move(op));
}

void NetworkTrace::put_pixels(const Tensor& x, const Tensor& table, const TablePart& part) {
  ops_.push_back(TracedOps::Pixels{x.id(), table.id(), part});
}

}  // namespace hr
