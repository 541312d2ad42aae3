// The end of a communicator: abort() comes from another thread, at any moment. On real GPUs this needs a rank that
// dies.
#include "core/comm/nccl.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/context.h"
#include "core/error.h"
#include "hrnet/model/make_context.h"
#include "tests/simulated_gpu/simulator.h"

namespace hr {
namespace {

constexpr int kSystemError = 2;

class SimulatedNccl : public testing::Test {
 protected:
  void TearDown() override { simulator::on_nccl_call({}); }

  void note(const std::string& what) {
    const std::lock_guard lock(mutex_);
    log_.push_back(what);
    changed_.notify_all();
  }
  bool noted(const std::string& what) {
    const std::lock_guard lock(mutex_);
    return std::find(log_.begin(), log_.end(), what) != log_.end();
  }
  // Returns true when it was recorded, or false after a minute.
  bool await(const std::string& what) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(1),
                             [&] { return std::find(log_.begin(), log_.end(), what) != log_.end(); });
  }
  std::vector<std::string> log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  // Returns true when the communicator refuses calls, which shows that abort() has begun, or false after a minute.
  static bool await_abort(Comm& comm) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < until) {
      try {
        comm.barrier();
      } catch (const Error&) {
        return true;
      }
      std::this_thread::yield();
    }
    return false;
  }

  Context cx_ = make_context({.device = "cuda"});
  std::unique_ptr<Comm> comm_ = make_nccl_comm(nullptr, cx_.device);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> log_;
};

TEST_F(SimulatedNccl, EveryCallAfterAbortIsAnError) {
  const Tensor x = cx_.zeros({10}, DType::f32);
  std::vector<double> host{1, 2};
  comm_->start_all_reduce(x, Reduce::sum, cx_.stream);
  comm_->abort();
  comm_->abort();
  EXPECT_THROW(comm_->finish(cx_.stream), Error);
  EXPECT_THROW(comm_->all_reduce(x, Reduce::sum, cx_.stream), Error);
  EXPECT_THROW(comm_->start_all_reduce(x, Reduce::sum, cx_.stream), Error);
  EXPECT_THROW(comm_->broadcast(x, 0, cx_.stream), Error);
  EXPECT_THROW(comm_->all_gather(x, x, cx_.stream), Error);
  EXPECT_THROW(comm_->all_reduce(std::span(host), Reduce::sum), Error);
  EXPECT_THROW(comm_->all_gather("bytes"), Error);
  EXPECT_THROW(comm_->barrier(), Error);
  EXPECT_THROW(comm_->check(), Error);
}

TEST_F(SimulatedNccl, AbortWaitsForACallThatIsInsideTheLibrary) {
  const Tensor x = cx_.zeros({10}, DType::f32);
  simulator::on_nccl_call([&](const std::string& name) {
    note(name);
    if (name == "all reduce") {
      await("go on");
      note("all reduce ends");
    }
    return 0;
  });
  std::thread caller([&] { EXPECT_NO_THROW(comm_->all_reduce(x, Reduce::sum, cx_.stream)); });
  ASSERT_TRUE(await("all reduce"));
  std::thread control([&] { comm_->abort(); });
  EXPECT_TRUE(await_abort(*comm_));
  EXPECT_FALSE(noted("abort")) << "freed while in use";
  note("go on");
  caller.join();
  control.join();
  EXPECT_EQ(log(), (std::vector<std::string>{"all reduce", "go on", "all reduce ends", "abort", "abort"}));
}

// A call that connects to a lost rank hangs until the communicator is aborted.
TEST_F(SimulatedNccl, AbortEndsACallThatHangs) {
  const Tensor x = cx_.zeros({10}, DType::f32);
  simulator::on_nccl_call([&](const std::string& name) {
    note(name);
    if (name == "all reduce") return await("abort") ? kSystemError : 0;
    return 0;
  });
  std::thread caller([&] { EXPECT_THROW(comm_->all_reduce(x, Reduce::sum, cx_.stream), Error); });
  ASSERT_TRUE(await("all reduce"));
  comm_->abort();
  caller.join();
  EXPECT_THROW(comm_->check(), Error);
}

}  // namespace
}  // namespace hr
