// A data-parallel training step on paper: what ranks, networks and bucket sizes do to its time. docs/design/scaling.md
// says where the numbers come from, and docs/measured/several_devices.md how far off the model was where it could be
// measured.
#pragma once
#include <span>
#include <vector>

#include "nn/data_parallel.h"

namespace hr {

// One rank's step when nobody else is there. Seconds; their sum is the step.
struct LoneStep {
  double until_backward = 0, backward = 0, after = 0;
  // When each parameter's gradient is there, in seconds from the start of backward: [position on the slab, seconds],
  // falling positions.
  struct Ready {
    int64_t begin = 0;
    double at = 0;
  };
  std::vector<Ready> ready;

  double seconds() const { return until_backward + backward + after; }
  // The same network on a device that takes `seconds` for a step: every part in proportion.
  LoneStep scaled_to(double seconds) const;
};

// What lies between the ranks. Bandwidths are bytes per second that one rank sends while it receives as many.
struct Network {
  int ranks = 1, ranks_per_host = 1;
  double inside = 0;   // within a host
  double between = 0;  // between hosts, this rank's share of its host's adapters
  double hop = 0;      // seconds of a message between hosts; a tree takes 2 log2(hosts) of them
  double inside_hop = 0;
  double host_seconds_per_byte = 0;  // of the rank's own processor while it exchanges (Gloo; 0 where a GPU computes)
};

// All ranks add `bytes` each: reduce-scatter within the hosts, all-reduce of the parts between them, all-gather within
// the hosts; 2 (n - 1) / n of what takes part crosses each rank's link (Patarasu & Yuan 2009: no algorithm sends less).
double all_reduce_seconds(const Network& network, double bytes);

struct PredictedStep {
  double seconds = 0;
  double exposed = 0;  // of that, what exchanging adds
  double busy = 0;     // all-reduces, one after the other
};
// Buckets (nn/data_parallel's, of f32 gradients) set off in order, each when its last gradient is there and the bucket
// before it is done. `small` all-reduces of a few bytes stand in the way of everything (the loss: 1; --sync-bn: 2 per
// batch norm and step).
PredictedStep predict_step(const LoneStep& lone, const Network& network, std::span<const Bucket> buckets,
                           int small = 1);

}  // namespace hr
