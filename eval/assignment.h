// The assignment problem: which row belongs to which column at the smallest total cost ("Hungarian" method).
#pragma once
#include <span>
#include <vector>

namespace hr {

// cost [rows, columns], row-major. Returns the column of every row, -1 where it has none; exactly min(rows, columns)
// rows have one, all different, and the sum of their costs is the smallest there is. Shortest augmenting paths with
// potentials (Crouse 2016, "On implementing 2D rectangular assignment algorithms"), O(min^2 max). The result depends on
// the numbers alone. Throws Error if a cost is not finite or the number of costs is not rows x columns.
std::vector<int> assign(std::span<const double> cost, int rows, int columns);

// The same, but a pair may also be left unassigned, and always is if it costs `limit` or more. Maximises the sum of
// (limit - cost) over the pairs, so that two fair pairs are better than one good one.
std::vector<int> assign_below(std::span<const double> cost, int rows, int columns, double limit);

}  // namespace hr
