#include "ops/conv/library.h"

#include "core/error.h"

namespace hr {

std::string to_string(const ConvProblem& p) {
  constexpr const char* passes[] = {"forward", "data", "filter"};
  const ConvGeometry& g = p.geometry;
  return fmt::format("{}{} [{}, {}, {}, {}] -> {}, {}x{} stride {} pad {}, {} -> {}{}{}{}{}",
                     g.transposed ? "deconv " : "conv ", passes[static_cast<int>(p.pass)], g.n, g.h, g.w, g.ci, g.co,
                     g.kh, g.kw, g.stride, g.pad, name_of(g.src), name_of(g.dst), p.add ? " + add" : "",
                     p.bias ? " + bias" : "", p.relu ? " + relu" : "", p.tf32 ? " (tf32)" : "");
}

}  // namespace hr
