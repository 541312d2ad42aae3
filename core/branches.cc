#include "core/branches.h"

#include <cstdlib>
#include <utility>

#include "core/error.h"

namespace hr {
namespace {
Arena* arena_of(const Context& cx) { return dynamic_cast<Arena*>(cx.allocator.get()); }
}  // namespace

SideStreams::SideStreams(int count) : forked_(cuda::create_event()) {
  for (int i = 0; i < count; ++i) {
    streams_.push_back(cuda::create_stream());
    joined_.push_back(cuda::create_event());
  }
}

SideStreams::~SideStreams() {
  for (const cuda::Stream s : streams_) cuda::destroy_stream(s);
  for (const cuda::Event e : joined_) cuda::destroy_event(e);
  cuda::destroy_event(forked_);
}

// Streams fork only when the arena has a finished plan. The plan keeps the memory of the branches apart; a recording
// does not.
void SideStreams::fork(Context& cx) {
  Arena* arena = arena_of(cx);
  if (arena == nullptr) return;
  arena->begin_branches();
  if (!arena->replaying()) return;
  cuda::record(forked_, cx.stream);
  for (const cuda::Stream s : streams_) cuda::wait(s, forked_);
  base_ = cx.stream;  // This is set last, so that no region has begun if fork() throws.
}

void SideStreams::enter(Context& cx, int branch) {
  if (Arena* arena = arena_of(cx)) arena->enter_branch(branch);
  if (base_ != nullptr) cx.stream = branch == 0 ? base_ : streams_[(branch - 1) % streams_.size()];
}

void SideStreams::join(Context& cx) {
  if (Arena* arena = arena_of(cx)) arena->end_branches();
  if (base_ == nullptr) return;
  cx.stream = std::exchange(base_, nullptr);
  for (size_t i = 0; i < streams_.size(); ++i) {
    cuda::record(joined_[i], streams_[i]);
    cuda::wait(cx.stream, joined_[i]);
  }
}

void SideStreams::abandon(Context& cx) noexcept {
  try {
    join(cx);
  } catch (const Error&) {
    // The device has failed or the capture is broken. The exception that is being handled already says so.
  }
}

int side_stream_count(int by_default) {
  const char* value = std::getenv("HRNET_SIDE_STREAMS");
  if (value == nullptr || *value == '\0') return by_default;
  constexpr int kMost = 15;
  char* end = nullptr;
  const long count = std::strtol(value, &end, 10);
  check(*end == '\0' && count >= 0 && count <= kMost, "HRNET_SIDE_STREAMS={}: expected a number from 0 to {}", value,
        kMost);
  return static_cast<int>(count);
}

Branches::Branches(Context& cx) : cx_(cx) {
  if (!cx.device.is_cuda() && !cx.recording()) arena_ = arena_of(cx);
  if (arena_ != nullptr) arena_->begin_branches();
  if (!cx.side_streams) return;
  cx.side_streams->fork(cx);
  if (cx.recording()) cx.tape->record([](Context& bx) { bx.side_streams->join(bx); });
}

Branches::~Branches() {
  if (arena_ != nullptr && !joined_) arena_->end_branches();
  if (cx_.side_streams && !joined_) cx_.side_streams->abandon(cx_);
}

void Branches::enter(int branch) {
  if (arena_ != nullptr) arena_->enter_branch(branch);
  if (!cx_.side_streams) return;
  cx_.side_streams->enter(cx_, branch);
  if (cx_.recording() && branch != current_) {
    cx_.tape->record([back_to = current_](Context& bx) { bx.side_streams->enter(bx, back_to); });
  }
  current_ = branch;
}

void Branches::join() {
  joined_ = true;
  if (arena_ != nullptr) arena_->end_branches();
  if (!cx_.side_streams) return;
  cx_.side_streams->join(cx_);
  if (cx_.recording()) {
    cx_.tape->record([last = current_](Context& bx) {
      bx.side_streams->fork(bx);
      bx.side_streams->enter(bx, last);
    });
  }
}

}  // namespace hr
