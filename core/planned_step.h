// A step without gradients on the CPU that is repeated with the same shapes, for example a forward pass of a network.
#pragma once
#include <memory>
#include <utility>

#include "core/context.h"
#include "core/loop_graph.h"
#include "core/loop_schedule.h"

namespace hr {

// The first call computes at once and plans the memory. The second one records the loops, and from then on they run
// without the host code between them (core/loop_graph.h). Results have the same bits in all calls. Not thread-safe.
class PlannedStep {
 public:
  explicit PlannedStep(std::shared_ptr<Allocator> memory, std::shared_ptr<ArenaBlock> block = nullptr)
      : block_(block ? std::move(block) : std::make_shared<ArenaBlock>(memory)),
        arena_(std::make_shared<Arena>(std::move(memory), block_)) {}
  // Memory is used again only after `requests` later allocations and releases. So the loops of a chain (LoopSchedule)
  // do not use each other's memory again.
  void reuse_after(size_t requests) { arena_->reuse_after(requests); }

  // body(step) must do the same ops on the same memory in every call with the same `version`; else the loops are
  // recorded again. It gets a context whose tensors live in this step only.
  // The loops run by `team`, which is a LoopTeam or a LoopSchedule.
  template <class Team, class Body>
  void operator()(const Context& cx, Team& team, uint64_t version, const Body& body) {
    if (graph_ != nullptr && version_ == version && moves_ == block_->moves()) return team.run(graph_);
    graph_.reset();
    const bool record = arena_->replaying();
    LoopRecorder recorder(Team::kElements);
    Context step = cx;
    step.allocator = arena_;
    if (record) step.loops = &recorder;
    // A new shape computes on separate memory. The block is idle meanwhile, so it is released; otherwise both would
    // need memory at once.
    if (!record) block_->release();
    arena_->begin_step();
    try {
      body(step);
    } catch (...) {
      arena_->abort_step();
      throw;
    }
    arena_->end_step();
    if (!record) return;
    graph_ = recorder.finish();
    version_ = version;
    moves_ = block_->moves();
    team.run(graph_);
  }

 private:
  std::shared_ptr<ArenaBlock> block_;
  std::shared_ptr<Arena> arena_;
  std::shared_ptr<const LoopGraph> graph_;
  uint64_t version_ = 0;  // Of the weights whose addresses the graph has.
  uint64_t moves_ = 0;    // Moves of the block when the graph was recorded.
};

}  // namespace hr
