// Solves the assignment problem: pairs rows with columns so that the total cost is the smallest (the problem of the
// "Hungarian" method).
#pragma once
#include <span>
#include <vector>

namespace hr {

// `cost` is [rows, columns], row-major. Returns the column of every row, or -1 for a row without a column. Exactly
// min(rows, columns) rows get different columns, and the sum of their costs is minimal. The algorithm uses shortest
// augmenting paths with potentials (Crouse 2016, "On implementing 2D rectangular assignment algorithms") and takes
// O(min^2 max). The result depends only on the numbers. Throws Error if a cost is not finite or the number of costs is
// not rows x columns.
std::vector<int> assign(std::span<const double> cost, int rows, int columns);

// The same, but rows may also stay without a column, and pairs that cost `limit` or more are never made. Maximises the
// sum of (limit - cost) over the pairs, so two pairs of medium cost can be better than one pair of low cost.
std::vector<int> assign_below(std::span<const double> cost, int rows, int columns, double limit);

}  // namespace hr
