// All ways to compute a convolution on a GPU: the kernels of both libraries as they are, and kernels for a part of the
// work with a pass of ours for the rest.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ops/conv/library.h"

namespace hr {

// The kinds of candidates. A tier is used only if no candidate of the earlier tiers runs. The text in parentheses is
// appended to the names of its candidates.
//   ready      Ready-made kernels of the libraries for the whole problem. If the f32 gradient of a filter is computed
//              from bf16, these include kernels of cuDNN that compute it in bf16, after which it is widened to f32
//              (", widened"), because on an H200 the only kernel that computes it in f32 takes ten times as long.
//   apart      A ready-made kernel for the convolution alone, followed by a pass of ours that adds the summand and the
//              bias and applies ReLU (", epilogue apart").
//   compiled   Kernels that cuDNN compiles at run time, which takes seconds.
//   rounded    For an f32 result from bf16: a kernel with a bf16 result, which is widened to f32 (", rounded").
//   all        All of the above at once, for finding out what the shorter search misses.
enum class ConvTier { ready, apart, compiled, rounded, all };

// The libraries, in the order in which they are asked for candidates: cuDNN first. No pointer is null.
using ConvLibraries = std::vector<ConvLibrary*>;

// Returns at most `at_most` candidates of each library.
std::vector<ConvCandidate> conv_candidates(const ConvLibraries& libraries, const ConvProblem& problem, ConvTier tier,
                                           int at_most = ConvSearch().at_most);

// Returns the candidate of that name from any tier, made without making the others; empty if there is none.
std::optional<ConvCandidate> find_candidate(const ConvLibraries& libraries, const ConvProblem& problem,
                                            const std::string& name);

}  // namespace hr
