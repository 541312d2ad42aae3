// Predicts the time of a data-parallel training step from the number of ranks, the network and the bucket sizes.
// docs/design/scaling.md says where the numbers come from, and docs/measured/several_devices.md how far the prediction
// was from measurements.
#pragma once
#include <span>
#include <vector>

#include "nn/data_parallel.h"

namespace hr {

// The duration of a step of one rank alone, in seconds. It is the sum of its parts.
struct LoneStep {
  double until_backward = 0, backward = 0, after = 0;
  // When each parameter's gradient is ready, in seconds from the start of backward: [position on the slab, seconds],
  // positions descending.
  struct Ready {
    int64_t begin = 0;
    double at = 0;
  };
  std::vector<Ready> ready;

  double seconds() const { return until_backward + backward + after; }
  // The same network on a device that takes `seconds` for a step. Every part is scaled in proportion.
  LoneStep scaled_to(double seconds) const;
};

// The network between the ranks. Bandwidths are bytes per second that one rank sends while it receives as many.
struct Network {
  int ranks = 1, ranks_per_host = 1;
  double inside = 0;   // within a host
  double between = 0;  // between hosts, this rank's share of its host's adapters
  double hop = 0;      // seconds that a message between hosts takes; a tree takes 2 log2(hosts) of them
  double inside_hop = 0;
  double host_seconds_per_byte = 0;  // of the rank's own processor while it exchanges (Gloo; 0 where a GPU computes)
};

// Returns the time of an all-reduce of `bytes` bytes: reduce-scatter within the hosts, all-reduce of the parts between
// the hosts, all-gather within the hosts. 2 (n - 1) / n of the bytes cross each rank's link, and no algorithm sends
// less (Patarasu and Yuan 2009).
double all_reduce_seconds(const Network& network, double bytes);

struct PredictedStep {
  double seconds = 0;
  double exposed = 0;  // of that, what the exchange adds
  double busy = 0;     // the all-reduces, one after the other
};
// Buckets (nn/data_parallel's, of f32 gradients) are sent in order. Each one starts when its last gradient is ready and
// the bucket before it is done. `small` is the number of all-reduces of a few bytes that the step waits for (the loss:
// 1; --sync-bn: 2 per batch norm and step).
PredictedStep predict_step(const LoneStep& lone, const Network& network, std::span<const Bucket> buckets,
                           int small = 1);

}  // namespace hr
