#include "tools/bench/scaling.h"

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace hr {
namespace {
// The number of levels of a binary tree over n.
int levels(int n) { return n > 1 ? std::bit_width(static_cast<unsigned>(n - 1)) : 0; }

double hops_seconds(const Network& net, int here, int hosts) {
  return 2 * (levels(here) * net.inside_hop + levels(hosts) * net.hop);
}
}  // namespace

LoneStep LoneStep::scaled_to(double wanted) const {
  const double factor = wanted / seconds();
  LoneStep out = *this;
  for (double* t : {&out.until_backward, &out.backward, &out.after}) *t *= factor;
  for (Ready& r : out.ready) r.at *= factor;
  return out;
}

double all_reduce_seconds(const Network& net, double bytes) {
  const int here = std::min(net.ranks, net.ranks_per_host), hosts = (net.ranks + here - 1) / here;
  double seconds = hops_seconds(net, here, hosts);
  if (here > 1) seconds += 2.0 * (here - 1) / here * bytes / net.inside;
  if (hosts > 1) seconds += 2.0 * (hosts - 1) / hosts * (bytes / here) / net.between;
  return seconds;
}

PredictedStep predict_step(const LoneStep& lone, const Network& net, std::span<const Bucket> buckets, int small) {
  if (net.ranks == 1) return {.seconds = lone.seconds()};
  const int here = std::min(net.ranks, net.ranks_per_host), hosts = (net.ranks + here - 1) / here;
  double bytes = 0;
  for (const Bucket& b : buckets) bytes += static_cast<double>(b.end - b.begin) * sizeof(float);
  // The exchange takes time of the rank's own processor and slows backward down evenly.
  const double stolen = bytes * net.host_seconds_per_byte, stretch = (lone.backward + stolen) / lone.backward;
  const double backward = lone.backward * stretch;

  PredictedStep out;
  double free = 0;  // when the link is free, from the start of backward
  size_t at = 0;
  for (const Bucket& b : buckets) {
    double ready = 0;
    for (; at < lone.ready.size() && lone.ready[at].begin >= b.begin; ++at) ready = std::max(ready, lone.ready[at].at);
    const double takes = all_reduce_seconds(net, static_cast<double>(b.end - b.begin) * sizeof(float));
    free = std::max(free, ready * stretch) + takes;
    out.busy += takes;
  }
  check(at == lone.ready.size(), "predicting a step: {} of {} gradients are in no bucket", lone.ready.size() - at,
        lone.ready.size());
  out.exposed = stolen + std::max(0.0, free - backward) + small * hops_seconds(net, here, hosts);
  out.seconds = lone.seconds() + out.exposed;
  return out;
}

}  // namespace hr
