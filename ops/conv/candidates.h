// Everything that could compute a convolution on a GPU: the kernels of both libraries as they are, and kernels for a
// part of the work with a pass of ours for the rest.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ops/conv/library.h"

namespace hr {

// A further tier is asked for where no candidate of those before it runs.
//   ready     the libraries' ready-made kernels for the whole problem. For an f32 gradient of a filter from bf16 also
//             those of cuDNN that make it in bf16, which is then widened (", widened"): on an H200 the one kernel that
//             makes it in f32 takes ten times as long
//   apart     a ready-made kernel for the bare convolution, then summand, bias and ReLU in a pass (", epilogue apart")
//   compiled  kernels that cuDNN compiles at run time for seconds
//   rounded   f32 from bf16 by way of a result that is rounded to bf16 (", rounded")
//   all       everything above at once, to see what the shorter search misses
enum class ConvTier { ready, apart, compiled, rounded, all };

// The libraries in the order in which they are asked: cuDNN first, none of them null.
using ConvLibraries = std::vector<ConvLibrary*>;

// At most so many of each library.
std::vector<ConvCandidate> conv_candidates(const ConvLibraries& libraries, const ConvProblem& problem, ConvTier tier,
                                           int at_most = ConvSearch().at_most);

// The candidate of that name, of whatever tier, made without the others; nothing if there is none.
std::optional<ConvCandidate> find_candidate(const ConvLibraries& libraries, const ConvProblem& problem,
                                            const std::string& name);

}  // namespace hr
