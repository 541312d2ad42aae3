// All ways to compute a convolution on a GPU: the kernels of both libraries as they are, and kernels for a part of the
// work with a pass of ours for the rest.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ops/conv/library.h"

namespace hr {

// A tier is only used if no candidate of the earlier tiers runs.
//   ready     the libraries' ready-made kernels for the whole problem. For an f32 gradient of a filter from bf16 these
//             include cuDNN's kernels that compute it in bf16, after which it is widened (", widened"): on an H200 the
//             one kernel that computes it in f32 takes ten times as long
//   apart     a ready-made kernel for the convolution alone, then a pass for summand, bias and ReLU (", epilogue
//   apart") compiled  kernels that cuDNN compiles at run time, which takes seconds rounded   f32 from bf16 with a
//   result that is rounded to bf16 on the way (", rounded") all       everything above at once, to find out what the
//   shorter search misses
enum class ConvTier { ready, apart, compiled, rounded, all };

// The libraries in the order in which they are asked: cuDNN first. None is null.
using ConvLibraries = std::vector<ConvLibrary*>;

// Returns at most `at_most` candidates of each library.
std::vector<ConvCandidate> conv_candidates(const ConvLibraries& libraries, const ConvProblem& problem, ConvTier tier,
                                           int at_most = ConvSearch().at_most);

// Returns the candidate of that name from any tier, made without making the others; empty if there is none.
std::optional<ConvCandidate> find_candidate(const ConvLibraries& libraries, const ConvProblem& problem,
                                            const std::string& name);

}  // namespace hr
