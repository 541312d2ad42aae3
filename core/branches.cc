#include "core/branches.h"

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

// Streams fork only under a finished plan: it keeps the branches' memory apart, a recording does not.
void SideStreams::fork(Context& cx) {
  Arena* arena = arena_of(cx);
  if (arena == nullptr) return;
  arena->begin_branches();
  if (!arena->replaying()) return;
  base_ = cx.stream;
  cuda::record(forked_, base_);
  for (const cuda::Stream s : streams_) cuda::wait(s, forked_);
}

void SideStreams::enter(Context& cx, int branch) {
  if (Arena* arena = arena_of(cx)) arena->enter_branch(branch);
  if (base_ != nullptr) cx.stream = branch == 0 ? base_ : streams_[(branch - 1) % streams_.size()];
}

void SideStreams::join(Context& cx) {
  if (Arena* arena = arena_of(cx)) arena->end_branches();
  if (base_ == nullptr) return;
  for (size_t i = 0; i < streams_.size(); ++i) {
    cuda::record(joined_[i], streams_[i]);
    cuda::wait(base_, joined_[i]);
  }
  cx.stream = base_;
  base_ = nullptr;
}

Branches::Branches(Context& cx) : cx_(cx) {
  if (!cx.side_streams) return;
  cx.side_streams->fork(cx);
  if (cx.recording()) cx.tape->record([](Context& bx) { bx.side_streams->join(bx); });
}

void Branches::enter(int branch) {
  if (!cx_.side_streams) return;
  cx_.side_streams->enter(cx_, branch);
  if (cx_.recording() && branch != current_) {
    cx_.tape->record([back_to = current_](Context& bx) { bx.side_streams->enter(bx, back_to); });
  }
  current_ = branch;
}

void Branches::join() {
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
