#include "core/profile.h"

#include <utility>

namespace hr {

Profile::~Profile() { clear(); }

void Profile::clear() {
  for (const Span& s : spans_) {
    cuda::destroy_event(s.from);
    cuda::destroy_event(s.to);
  }
  spans_.clear();
}

void Profile::begin(std::string_view kind, double bytes, double operations, cuda::Stream stream) {
  Kind& k = kinds_.try_emplace(std::string(kind)).first->second;
  ++k.launches;
  k.bytes += bytes;
  k.operations += operations;
  if (!on_gpu_) return;
  Kind* outer = open_.empty() ? nullptr : spans_[open_.back()].kind;
  spans_.push_back({.kind = &k, .outer = outer});
  spans_.back().from = cuda::create_event(true);
  spans_.back().to = cuda::create_event(true);
  cuda::record(spans_.back().from, stream);
  open_.push_back(spans_.size() - 1);  // Done last, because the caller of a begin() that throws does not call end().
}

void Profile::end(cuda::Stream stream) noexcept {
  if (!on_gpu_) return;
  Span& s = spans_[open_.back()];
  open_.pop_back();
  try {
    cuda::record(s.to, stream);
    s.ended = true;
  } catch (const Error&) {
    if (!error_) error_ = std::current_exception();
  }
}

const std::map<std::string, Profile::Kind, std::less<>>& Profile::finish() {
  check(open_.empty(), "profile: {} spans have not ended", open_.size());
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  for (const Span& s : spans_) {
    if (!s.ended) continue;  // The begin() of this span threw.
    cuda::synchronize(s.to);
    const double seconds = 1e-3 * static_cast<double>(cuda::elapsed_ms(s.from, s.to));
    s.kind->seconds += seconds;
    if (s.outer != nullptr) s.outer->seconds -= seconds;
  }
  clear();
  return kinds_;
}

}  // namespace hr
