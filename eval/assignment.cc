#include "eval/assignment.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace hr {
namespace {

// Requires rows <= columns. Each row is added to the assignment along the shortest path of alternating free and
// assigned pairs. The potentials u and v keep every reduced cost  cost - u - v  at or above zero, so that Dijkstra's
// search finds this path.
std::vector<int> assign_wide(std::span<const double> cost, int rows, int columns) {
  constexpr double kFar = std::numeric_limits<double>::infinity();
  std::vector<double> u(rows, 0.0), v(columns, 0.0), shortest(columns);
  std::vector<int> column_of(rows, -1), row_of(columns, -1), came_from(columns), open(columns);
  std::vector<int> rows_seen, columns_seen;
  for (int start = 0; start < rows; ++start) {
    for (int j = 0; j < columns; ++j) open[j] = columns - 1 - j;
    int open_count = columns, row = start, end = -1;
    double length = 0;
    std::fill(shortest.begin(), shortest.end(), kFar);
    rows_seen.clear();
    columns_seen.clear();
    while (end < 0) {
      rows_seen.push_back(row);
      const double* costs = cost.data() + static_cast<size_t>(row) * columns;
      int best = 0;
      double lowest = kFar;
      for (int k = 0; k < open_count; ++k) {
        const int j = open[k];
        const double through = length + costs[j] - u[row] - v[j];
        if (through < shortest[j]) {
          shortest[j] = through;
          came_from[j] = row;
        }
        // Among equal lengths a free column is preferred, because it ends the search at once.
        if (shortest[j] < lowest || (shortest[j] == lowest && row_of[j] < 0)) {
          lowest = shortest[j];
          best = k;
        }
      }
      length = lowest;
      const int j = open[best];
      open[best] = open[--open_count];
      columns_seen.push_back(j);
      if (row_of[j] < 0) {
        end = j;
      } else {
        row = row_of[j];
      }
    }
    u[start] += length;
    for (const int i : rows_seen) {
      if (i != start) u[i] += length - shortest[column_of[i]];
    }
    for (const int j : columns_seen) v[j] -= length - shortest[j];
    for (int j = end;;) {
      const int i = came_from[j];
      row_of[j] = i;
      std::swap(column_of[i], j);
      if (i == start) break;
    }
  }
  return column_of;
}

}  // namespace

std::vector<int> assign(std::span<const double> cost, int rows, int columns) {
  check(rows >= 0 && columns >= 0 && cost.size() == static_cast<size_t>(rows) * columns,
        "assign: {} costs for {} rows and {} columns", cost.size(), rows, columns);
  for (size_t i = 0; i < cost.size(); ++i) {
    check(std::isfinite(cost[i]), "assign: the cost of row {} and column {} is {}", i / columns, i % columns, cost[i]);
  }
  if (rows <= columns) return assign_wide(cost, rows, columns);
  std::vector<double> turned(cost.size());
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j)
      turned[static_cast<size_t>(j) * rows + i] = cost[static_cast<size_t>(i) * columns + j];
  }
  const std::vector<int> row_of = assign_wide(turned, columns, rows);
  std::vector<int> column_of(rows, -1);
  for (int j = 0; j < columns; ++j) column_of[row_of[j]] = j;
  return column_of;
}

std::vector<int> assign_below(std::span<const double> cost, int rows, int columns, double limit) {
  std::vector<double> gain(cost.size());
  for (size_t i = 0; i < cost.size(); ++i) {
    check(!std::isnan(cost[i]), "assign_below: cost {} is not a number", i);
    gain[i] = std::min(cost[i] - limit, 0.0);
  }
  std::vector<int> column_of = assign(gain, rows, columns);
  for (int i = 0; i < rows; ++i) {
    const int j = column_of[i];
    if (j >= 0 && gain[static_cast<size_t>(i) * columns + j] >= 0) column_of[i] = -1;
  }
  return column_of;
}

}  // namespace hr
