#include "ops/conv/gemm.h"

namespace hr {

std::optional<ConvGemm> as_gemm(const ConvProblem& p) {
  const ConvGeometry& g = p.geometry;
  if (g.transposed || g.kh != 1 || g.kw != 1 || g.stride != 1 || g.pad != 0) return {};
  const auto x = &ConvBuffers::x, filter = &ConvBuffers::filter, y = &ConvBuffers::y;
  const int64_t rows = g.n * g.h * g.w, ci = g.ci, co = g.co;
  // In BLAS's view of our memory x is [ci, rows], y is [co, rows] and the filter is [ci, co].
  switch (p.pass) {
    case ConvProblem::Pass::forward:
      return ConvGemm{filter, x, co, rows, ci, true, false, ci, ci, co, g.src, g.dst};
    case ConvProblem::Pass::backward_data:
      return ConvGemm{filter, y, ci, rows, co, false, false, ci, co, ci, g.src, g.src};
    case ConvProblem::Pass::backward_filter:
      return ConvGemm{x, y, ci, co, rows, false, true, ci, co, ci, g.src, g.dst};
  }
  return {};
}

}  // namespace hr
