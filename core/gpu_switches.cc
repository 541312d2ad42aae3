#include "core/gpu_switches.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace hr {
namespace {

// Returns the position of the variable's value among `words`; 0 if it is not set.
size_t choice(const char* name, const std::vector<std::string_view>& words) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return 0;
  const auto found = std::find(words.begin(), words.end(), value);
  check(found != words.end(), "{}={}: expected {}", name, value, fmt::join(words, " or "));
  return static_cast<size_t>(found - words.begin());
}

}  // namespace

ReversedLoops reversed_loops() {
  const size_t which = choice("HRNET_REVERSE", {"none", "elements", "sums", "both"});
  return {.elements = (which & 1) != 0, .sums = (which & 2) != 0};
}

DependentLaunch dependent_launch() {
  return static_cast<DependentLaunch>(choice("HRNET_DEPENDENT_LAUNCH", {"off", "end", "start"}));
}

bool coefficients_in_registers() { return choice("HRNET_COEFFICIENTS", {"rows", "registers"}) == 1; }

bool filter_gradient_slab() { return choice("HRNET_FILTER_SLAB", {"off", "on"}) == 1; }

bool relu_bits() { return choice("HRNET_RELU_BITS", {"off", "on"}) == 1; }

bool bf16_crops() { return choice("HRNET_BF16_CROPS", {"off", "on"}) == 1; }

bool folded_norm_backward() { return choice("HRNET_NORM_BACKWARD", {"centred", "folded"}) == 1; }

bool adam_rounds() { return choice("HRNET_ADAM_ROUNDS", {"off", "on"}) == 1; }

bool early_crops() { return choice("HRNET_EARLY_CROPS", {"off", "on"}) == 1; }

}  // namespace hr
