// Switches of the CUDA backend for changes whose gain was predicted and not yet measured on a GPU. Each is an
// environment variable, which is read every time that its function is called. Without it the program behaves as if the
// first of the listed words were set. docs/design/gpu.md says what each one does and is expected to gain. The functions
// throw Error if a variable has another value.
#pragma once

namespace hr {

// HRNET_REVERSE = none, elements, sums or both: which of our loops walk the rows from the last to the first. The
// results do not depend on it.
struct ReversedLoops {
  bool elements = false;  // Loops that compute every element.
  bool sums = false;      // Reductions: their blocks, since the order of the rows within a block decides rounding.
};
ReversedLoops reversed_loops();

// HRNET_COEFFICIENTS = rows or registers: whether a thread loads the coefficients of its channels again for every row,
// or once, from a grid that is resident as a whole. The results do not depend on it.
bool coefficients_in_registers();

}  // namespace hr
