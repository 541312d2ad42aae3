#include "eval/assignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "core/error.h"

namespace hr {
namespace {

// Tries every way to assign a different column to each row (rows <= columns). With `may_stay`, rows may also stay
// without a column.
double cheapest(const std::vector<double>& cost, int rows, int columns, bool may_stay, double limit, int row = 0,
                unsigned taken = 0) {
  if (row == rows) return 0;
  double best = may_stay ? cheapest(cost, rows, columns, may_stay, limit, row + 1, taken)
                         : std::numeric_limits<double>::infinity();
  for (int j = 0; j < columns; ++j) {
    if ((taken >> j & 1) != 0) continue;
    best = std::min(best, cost[row * columns + j] - limit +
                              cheapest(cost, rows, columns, may_stay, limit, row + 1, taken | 1u << j));
  }
  return best;
}

std::vector<double> turned(const std::vector<double>& cost, int rows, int columns) {
  std::vector<double> t;
  for (int j = 0; j < columns; ++j) {
    for (int i = 0; i < rows; ++i) t.push_back(cost[i * columns + j]);
  }
  return t;
}

double total(const std::vector<double>& cost, int columns, const std::vector<int>& match, double limit, int* pairs) {
  double sum = 0;
  std::vector<int> used;
  for (size_t i = 0; i < match.size(); ++i) {
    if (match[i] < 0) continue;
    sum += cost[i * columns + match[i]] - limit;
    used.push_back(match[i]);
  }
  std::sort(used.begin(), used.end());
  EXPECT_EQ(std::adjacent_find(used.begin(), used.end()), used.end()) << "a column twice";
  *pairs = static_cast<int>(used.size());
  return sum;
}

TEST(Assignment, IsTheCheapestOfAllThereAre) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    const int rows = static_cast<int>(random() % 6), columns = static_cast<int>(random() % 7);
    std::vector<double> cost(static_cast<size_t>(rows) * columns);
    // Every third round has few different costs, so that many assignments are equally cheap.
    for (double& c : cost) c = round % 3 == 0 ? static_cast<double>(random() % 3) : std::ldexp(random(), -31) - 1;
    const bool wide = rows <= columns;
    const std::vector<double> small = wide ? cost : turned(cost, rows, columns);
    const int few = std::min(rows, columns), many = std::max(rows, columns);
    int pairs = 0;
    const double got = total(cost, columns, assign(cost, rows, columns), 0, &pairs);
    EXPECT_EQ(pairs, few);
    EXPECT_NEAR(got, cheapest(small, few, many, false, 0), 1e-12) << rows << " x " << columns;
    const double limit = 0.4;
    const double below = total(cost, columns, assign_below(cost, rows, columns, limit), limit, &pairs);
    EXPECT_NEAR(below, cheapest(small, few, many, true, limit), 1e-12) << rows << " x " << columns;
  }
}

TEST(Assignment, BelowALimitLeavesDearPairsApart) {
  const std::vector<double> cost{0.2, 0.9, 0.3, 0.95};
  EXPECT_EQ(assign_below(cost, 2, 2, 0.8), (std::vector<int>{0, -1}));
  // 0.2 + 0.95 < 0.9 + 0.3: with a higher limit both pairs are matched in the cheaper way.
  EXPECT_EQ(assign_below(cost, 2, 2, 1.0), (std::vector<int>{0, 1}));
  EXPECT_EQ(assign_below(std::vector<double>{0.5}, 1, 1, 0.5), (std::vector<int>{-1}));  // no match at the limit
}

TEST(Assignment, NobodyIsNoCase) {
  EXPECT_TRUE(assign({}, 0, 0).empty());
  EXPECT_TRUE(assign({}, 0, 3).empty());
  EXPECT_EQ(assign({}, 2, 0), (std::vector<int>{-1, -1}));
}

TEST(Assignment, RefusesWhatIsNoNumber) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), far = std::numeric_limits<double>::infinity();
  EXPECT_THROW(assign(std::vector<double>{1, nan}, 1, 2), Error);
  EXPECT_THROW(assign(std::vector<double>{1, far}, 1, 2), Error);
  EXPECT_THROW(assign_below(std::vector<double>{1, nan}, 1, 2, 1), Error);
  EXPECT_THROW(assign(std::vector<double>{1, 2, 3}, 1, 2), Error);
}

}  // namespace
}  // namespace hr
