// Which samples of an epoch a rank gets. Follows torch.utils.data.DistributedSampler: the order is extended by its own
// beginning (repeated when it is shorter than the number of ranks) until every rank gets equally many, then dealt out
// like cards. So step k of all ranks together holds the samples that step k of one process with the whole batch holds.
#pragma once
#include <cstddef>
#include <vector>

namespace hr {

struct Shard {
  int rank = 0, ranks = 1;
  // How many of n samples each rank gets.
  size_t size(size_t n) const { return (n + ranks - 1) / ranks; }
  std::vector<size_t> of(std::vector<size_t> order) const {
    if (ranks == 1) return order;
    std::vector<size_t> mine(size(order.size()));
    for (size_t i = 0; i < mine.size(); ++i) mine[i] = order[(i * ranks + rank) % order.size()];
    return mine;
  }
};

}  // namespace hr
