// The streams of branches, and the memory in which they work.
#include "core/branches.h"

#include "tests/gpu/pair.h"

namespace hr {
namespace {

class GpuBranches : public test::Gpu {
 protected:
  void SetUp() override {
    Gpu::SetUp();
    if (test::test_device() == "cpu") GTEST_SKIP() << "the CPU has no streams";
  }
};

// Two branches multiply x by two and by three, forward and backward. `broken` says where an exception is thrown.
enum class Broken { nowhere, forward, backward };
struct Work {
  Context cx;
  Tape tape;
  Tensor x;
  std::vector<cuda::Stream> streams;  // of each branch, in the last step

  Work() : cx(test::device_context()) {
    x = test::place(cx, {5000}, DType::f32, test::Values(5000, 1.0));
    x.set_requires_grad(true);
  }

  // Runs one step as TrainStep does: with a copy of the context, and with the arena as its allocator.
  test::Values step(const std::shared_ptr<Arena>& arena, Broken broken = Broken::nowhere) {
    Context step = cx;
    step.allocator = arena;
    step.tape = &tape;
    streams.clear();
    test::Values result;
    arena->begin_step();
    try {
      const Tensor base = sum(step, std::vector{x, x});
      Tensor doubled, trebled;
      Branches branches(step);
      branches.enter(0);
      doubled = sum(step, std::vector{base, base});
      streams.push_back(step.stream);
      branches.enter(1);
      trebled = sum(step, std::vector{base, base, base});
      streams.push_back(step.stream);
      if (broken == Broken::forward) fail("in a branch");
      if (broken == Broken::backward) tape.record([](Context&) { fail("in a branch"); });
      branches.join();
      EXPECT_EQ(step.stream, cx.stream);
      const Tensor total = sum(step, std::vector{doubled, trebled});
      result = test::fetch(step, total);
      Tensor loss = step.zeros({1}, DType::f32);
      tape.backward(step, loss);
    } catch (...) {
      tape.clear();
      arena->abort_step();
      throw;
    }
    arena->end_step();
    return result;
  }
};

// A step of a new shape is recorded, so its branches must follow each other on one stream, even if the step before has
// thrown.
TEST_F(GpuBranches, AStepIsRecordedOnOneStreamAfterOneThatThrewWithinBranches) {
  for (const Broken broken : {Broken::forward, Broken::backward}) {
    SCOPED_TRACE(broken == Broken::forward ? "forward" : "backward");
    Work work;
    const auto arena = std::make_shared<Arena>(work.cx.allocator);
    const test::Values expected(5000, 10.0);
    EXPECT_EQ(work.step(arena), expected);
    EXPECT_EQ(work.streams[0], work.streams[1]) << "a recording";
    EXPECT_EQ(work.step(arena), expected);
    EXPECT_NE(work.streams[0], work.streams[1]) << "a replay";
    EXPECT_THROW(work.step(arena, broken), Error);
    EXPECT_FALSE(work.cx.side_streams->forked());

    const auto other = std::make_shared<Arena>(work.cx.allocator);
    EXPECT_EQ(work.step(other), expected);
    EXPECT_EQ(work.streams[0], work.cx.stream);
    EXPECT_EQ(work.streams[1], work.cx.stream);
    EXPECT_EQ(work.step(arena), expected) << "the plan from before";
  }
}

// If one branch throws, the work that another has begun may still be running, so the context's stream waits for it.
TEST_F(GpuBranches, WorkOfABranchIsWaitedForAfterAnException) {
  Work work;
  const auto arena = std::make_shared<Arena>(work.cx.allocator);
  work.step(arena);
  work.step(arena);
  const Tensor y = work.cx.zeros({5000}, DType::f32);
  cuda::synchronize(work.cx.stream);
  Context step = work.cx;
  step.allocator = arena;
  arena->begin_step();
  try {
    Branches branches(step);
    branches.enter(1);
    copy_or_add(step, work.x, y, true);
    fail("in a branch");
  } catch (const Error&) {
    arena->abort_step();
  }
  copy_or_add(work.cx, work.x, y, true);
  EXPECT_EQ(test::fetch(work.cx, y), test::Values(5000, 2.0));
}

class GpuMemory : public test::Gpu {};

// Memory is aligned to 256 bytes, as cudaMalloc aligns it, because vector accesses and the libraries' kernels depend on
// alignment.
TEST_F(GpuMemory, TensorsOfAPlannedStepLieAt256Bytes) {
  if (test::test_device() == "cpu") GTEST_SKIP() << "the CPU's lie at 64 bytes";
  const Context cx = test::device_context();
  const auto arena = std::make_shared<Arena>(cx.allocator);
  for (int round = 0; round < 3; ++round) {
    arena->begin_step();
    std::vector<std::pair<void*, size_t>> blocks;
    for (const size_t bytes : {4u, 100u, 300u, 64u, 5000u, 0u, 129u}) {
      blocks.emplace_back(arena->allocate(bytes), bytes);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back().first) % 256, 0u) << bytes << " bytes, round " << round;
    }
    for (const auto& [pointer, bytes] : blocks) arena->deallocate(pointer, bytes);
    arena->end_step();
  }
}

}  // namespace
}  // namespace hr
