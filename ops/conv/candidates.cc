#include "ops/conv/candidates.h"

#include <limits>

#include "core/error.h"
#include "ops/conv/gpu_conv_kernel.h"
#include "ops/elementwise_kernel.h"
#include "ops/for_each.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;
using Kernels = ConvSearch::Kernels;

// Another problem that a library solves in place of the original one, and what is done with its result.
struct Detour {
  std::string_view suffix;  // Added to the names of the candidates.
  ConvProblem inner;
  std::function<ConvCandidate(const ConvProblem& whole, ConvCandidate inner)> complete;
};

// Returns the offset at which the result of a candidate is kept behind its workspace.
int64_t behind(int64_t workspace) { return (workspace + 63) / 64 * 64; }

// Makes an f32 gradient of a filter from one in bf16.
ConvCandidate widened(const ConvProblem& p, ConvCandidate inner) {
  const ConvGeometry& g = p.geometry;
  const int64_t count = g.co * g.kh * g.kw * g.ci, offset = behind(inner.workspace);
  const auto run = [count, offset, compute = std::move(inner.run)](const Context& cx, const ConvBuffers& buffers,
                                                                   void* workspace) {
    auto* rounded = reinterpret_cast<bf16*>(static_cast<std::byte*>(workspace) + offset);
    ConvBuffers half = buffers;
    half.out = buffers.half != nullptr ? buffers.half : rounded;
    compute(cx, half, workspace);
    if (buffers.half != nullptr) return;
    for_each_flat(cx, count, Convert<bf16, float>{rounded, static_cast<float*>(buffers.out)});
  };
  return {std::move(inner.name), offset + count * static_cast<int64_t>(sizeof(bf16)), run, true};
}

template <class From, class To>
void finish(const Context& cx, const ConvProblem& p, const void* sums, const ConvBuffers& buffers) {
  const ConvGeometry& g = p.geometry;
  for_each(
      cx, g.n * g.out_h() * g.out_w(), g.co,
      ConvEpilogue<From, To>{static_cast<const From*>(sums), p.bias ? static_cast<const To*>(buffers.bias) : nullptr,
                             p.add ? static_cast<const To*>(buffers.add) : nullptr, static_cast<To*>(buffers.out), g.co,
                             p.relu ? 0.0f : -std::numeric_limits<float>::infinity()});
}

// Applies the epilogue in place. `bare` has no epilogue and writes the type of the problem.
ConvCandidate with_epilogue(const ConvProblem& p, ConvCandidate bare) {
  const auto run = [p, compute = std::move(bare.run)](const Context& cx, const ConvBuffers& buffers, void* workspace) {
    compute(cx, buffers, workspace);
    p.geometry.dst == DType::bf16 ? finish<bf16, bf16>(cx, p, buffers.out, buffers)
                                  : finish<float, float>(cx, p, buffers.out, buffers);
  };
  return {std::move(bare.name), bare.workspace, run};
}

// Solves the problem in f32 from a result in bf16 without epilogue.
ConvCandidate from_rounded(const ConvProblem& p, ConvCandidate bare) {
  const ConvGeometry& g = p.geometry;
  const int64_t offset = behind(bare.workspace), count = g.n * g.out_h() * g.out_w() * g.co;
  const auto run = [p, offset, compute = std::move(bare.run)](const Context& cx, const ConvBuffers& buffers,
                                                              void* workspace) {
    void* rounded = static_cast<std::byte*>(workspace) + offset;
    ConvBuffers half = buffers;
    half.out = rounded;
    compute(cx, half, workspace);
    finish<bf16, float>(cx, p, rounded, buffers);
  };
  return {std::move(bare.name), offset + count * static_cast<int64_t>(sizeof(bf16)), run};
}

std::optional<Detour> widening(const ConvProblem& p) {
  const ConvGeometry& g = p.geometry;
  if (p.pass != Pass::backward_filter || g.src != DType::bf16 || g.dst != DType::f32) return {};
  Detour detour{", widened", p, widened};
  detour.inner.geometry.dst = DType::bf16;
  return detour;
}
std::optional<Detour> epilogue_apart(const ConvProblem& p) {
  if (p.pass != Pass::forward || !(p.bias || p.add || p.relu)) return {};
  Detour detour{", epilogue apart", p, with_epilogue};
  detour.inner.bias = detour.inner.add = detour.inner.relu = false;
  return detour;
}
std::optional<Detour> rounding(const ConvProblem& p) {
  if (p.pass != Pass::forward || p.geometry.src != DType::bf16 || p.geometry.dst != DType::f32) return {};
  Detour detour{", rounded", p, from_rounded};
  detour.inner.bias = detour.inner.add = detour.inner.relu = false;
  detour.inner.geometry.dst = DType::bf16;
  return detour;
}

}  // namespace

std::vector<ConvCandidate> conv_candidates(const ConvLibraries& libraries, const ConvProblem& p, ConvTier tier,
                                           int at_most) {
  std::vector<ConvCandidate> list;
  ConvLibrary* const cudnn = libraries.front();
  const auto add = [&](ConvLibrary* library, Kernels kernels) {
    for (ConvCandidate& c : library->candidates(p, {kernels, at_most})) list.push_back(std::move(c));
  };
  const auto add_by = [&](const std::optional<Detour>& detour, ConvLibrary* library, Kernels kernels) {
    if (!detour) return;
    for (ConvCandidate& c : library->candidates(detour->inner, {kernels, at_most})) {
      c.name += detour->suffix;
      list.push_back(detour->complete(p, std::move(c)));
    }
  };
  switch (tier) {
    case ConvTier::ready:
      for (ConvLibrary* library : libraries) {
        add(library, Kernels::ready);
        if (library == cudnn) add_by(widening(p), cudnn, Kernels::ready);
      }
      break;
    case ConvTier::apart:
      for (ConvLibrary* library : libraries) add_by(epilogue_apart(p), library, Kernels::ready);
      break;
    case ConvTier::compiled:
      add(cudnn, Kernels::compiled);
      if (list.empty()) add_by(widening(p), cudnn, Kernels::compiled);
      break;
    case ConvTier::rounded:
      for (ConvLibrary* library : libraries) add_by(rounding(p), library, Kernels::ready);
      break;
    case ConvTier::all:
      for (ConvLibrary* library : libraries) {
        add(library, Kernels::all);
        for (const auto& detour : {widening(p), epilogue_apart(p)}) add_by(detour, library, Kernels::all);
      }
      break;
  }
  return list;
}

std::optional<ConvCandidate> find_candidate(const ConvLibraries& libraries, const ConvProblem& p,
                                            const std::string& name) {
  const auto ask = [&](const ConvProblem& problem, const std::string& inner) -> std::optional<ConvCandidate> {
    for (ConvLibrary* library : libraries) {
      if (auto found = library->find(problem, inner)) return found;
    }
    return {};
  };
  const size_t comma = name.find(',');
  if (comma == std::string::npos) return ask(p, name);
  for (const auto& detour : {widening(p), epilogue_apart(p), rounding(p)}) {
    if (!detour || std::string_view(name).substr(comma) != detour->suffix) continue;
    auto inner = ask(detour->inner, name.substr(0, comma));
    if (!inner) return {};
    inner->name = name;
    return detour->complete(p, std::move(*inner));
  }
  return {};
}

}  // namespace hr
