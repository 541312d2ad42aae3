#include "core/profile.h"

namespace hr {

Profile::~Profile() {
  for (const Span& s : spans_) {
    cuda::destroy_event(s.from);
    cuda::destroy_event(s.to);
  }
}

void Profile::begin(std::string_view kind, double bytes, double operations, cuda::Stream stream) {
  Kind& k = kinds_.try_emplace(std::string(kind)).first->second;
  ++k.launches;
  k.bytes += bytes;
  k.operations += operations;
  if (!on_gpu_) return;
  spans_.push_back({&k, cuda::create_event(true), cuda::create_event(true)});
  cuda::record(spans_.back().from, stream);
}

void Profile::end(cuda::Stream stream) {
  if (on_gpu_) cuda::record(spans_.back().to, stream);
}

const std::map<std::string, Profile::Kind, std::less<>>& Profile::finish() {
  for (const Span& s : spans_) {
    cuda::synchronize(s.to);
    s.kind->seconds += 1e-3 * static_cast<double>(cuda::elapsed_ms(s.from, s.to));
    cuda::destroy_event(s.from);
    cuda::destroy_event(s.to);
  }
  spans_.clear();
  return kinds_;
}

}  // namespace hr
