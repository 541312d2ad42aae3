// Divides the samples of an epoch among ranks. It follows torch.utils.data.DistributedSampler: the order is extended by
// its own beginning (repeated if it is shorter than the number of ranks) until every rank gets the same number, and
// then the samples are dealt to the ranks in turn. Step k of all ranks together therefore holds the same samples as
// step k of one process with the whole batch.
#pragma once
#include <cstddef>
#include <vector>

namespace hr {

struct Shard {
  int rank = 0, ranks = 1;
  // Returns how many of n samples each rank gets.
  size_t size(size_t n) const { return (n + ranks - 1) / ranks; }
  std::vector<size_t> of(std::vector<size_t> order) const {
    if (ranks == 1) return order;
    std::vector<size_t> mine(size(order.size()));
    for (size_t i = 0; i < mine.size(); ++i) mine[i] = order[(i * ranks + rank) % order.size()];
    return mine;
  }
};

}  // namespace hr
