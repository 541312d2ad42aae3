// Tests that the simulator detects the mistakes for which it was made.
#include "tests/simulated_gpu/simulator.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "core/error.h"

namespace hr {
namespace {

using Floats = std::array<float, 4>;

// Two streams, device memory and pinned memory, which the destructor frees.
struct Machine {
  cuda::Stream a = cuda::create_stream(), b = cuda::create_stream();
  cuda::Event event = cuda::create_event();
  float* device = static_cast<float*>(cuda::allocate(sizeof(Floats)));
  Floats* pinned = static_cast<Floats*>(cuda::allocate_pinned(sizeof(Floats)));

  ~Machine() {
    cuda::deallocate(device);
    cuda::deallocate_pinned(pinned);
    cuda::destroy_event(event);
    cuda::destroy_stream(a);
    cuda::destroy_stream(b);
  }
  // device[0] += v
  void add(cuda::Stream s, float v) {
    simulator::enqueue(s, [p = device, v] { *p += v; });
  }
  float first(cuda::Stream s) {
    cuda::copy(pinned, device, sizeof(Floats), cuda::Copy::device_to_host, s);
    cuda::synchronize(s);
    return (*pinned)[0];
  }
};

class Simulator : public testing::Test {
 protected:
  void SetUp() override { simulator::set_order("lazy"); }
  void TearDown() override {
    const char* order = std::getenv("HRNET_SIMULATED_ORDER");
    simulator::set_order(order != nullptr ? order : "lazy");
  }
};

void expect_refused(const char* why, const std::function<void()>& body) {
  try {
    body();
    ADD_FAILURE() << "not refused: " << why;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(why), std::string::npos) << e.what();
  }
}

TEST_F(Simulator, MemoryIsNewAndKeptInOrderByAStream) {
  Machine m;
  EXPECT_TRUE(std::isnan(m.first(m.a)));
  cuda::zero(m.device, sizeof(Floats), m.a);
  m.add(m.a, 2);
  m.add(m.a, 3);
  EXPECT_EQ(m.first(m.a), 5);
}

TEST_F(Simulator, AMissingEventShows) {
  Machine m;
  cuda::zero(m.device, sizeof(Floats), m.a);
  m.add(m.a, 1);
  EXPECT_TRUE(std::isnan(m.first(m.b)));  // b did not wait
  m.add(m.a, 1);
  cuda::record(m.event, m.a);
  cuda::wait(m.b, m.event);
  EXPECT_EQ(m.first(m.b), 2);
}

TEST_F(Simulator, PinnedMemoryIsReadWhenTheCopyRuns) {
  Machine m;
  *m.pinned = {1, 1, 1, 1};
  cuda::copy(m.device, m.pinned, sizeof(Floats), cuda::Copy::host_to_device, m.a);
  *m.pinned = {7, 7, 7, 7};  // too early
  EXPECT_EQ(m.first(m.a), 7);
  const Floats pageable{3, 3, 3, 3};
  cuda::copy(m.device, &pageable, sizeof(Floats), cuda::Copy::host_to_device, m.a);
  EXPECT_EQ(m.first(m.a), 3);
}

TEST_F(Simulator, ARandomOrderKeepsWhatEventsOrderAndNothingElse) {
  int seen_early = 0;
  for (int seed = 1; seed <= 40; ++seed) {
    simulator::set_order(std::to_string(seed));
    Machine m;
    cuda::zero(m.device, sizeof(Floats), m.a);
    cuda::synchronize(m.a);
    simulator::enqueue(m.a, [p = m.device] { *p = 1; });
    simulator::enqueue(m.b, [p = m.device] { p[1] = *p; });
    cuda::record(m.event, m.a);
    cuda::wait(m.b, m.event);
    simulator::enqueue(m.b, [p = m.device] { p[2] = *p; });
    m.first(m.b);
    seen_early += (*m.pinned)[1] == 0 ? 1 : 0;
    EXPECT_EQ((*m.pinned)[2], 1) << seed;
  }
  EXPECT_GT(seen_early, 0);
  EXPECT_LT(seen_early, 40);
}

TEST_F(Simulator, AGraphRunsAgainAndAgainWithItsForks) {
  Machine m;
  cuda::zero(m.device, sizeof(Floats), m.a);
  cuda::begin_capture(m.a);
  m.add(m.a, 1);
  cuda::record(m.event, m.a);
  cuda::wait(m.b, m.event);
  simulator::enqueue(m.b, [p = m.device] { p[1] = 10 * p[0]; });
  cuda::record(m.event, m.b);
  cuda::wait(m.a, m.event);
  simulator::enqueue(m.a, [p = m.device] { p[0] = p[1] + 1; });
  const cuda::Graph graph = cuda::end_capture(m.a);
  EXPECT_EQ(m.first(m.a), 0);  // captured, not run
  cuda::launch(graph, m.a);
  cuda::launch(graph, m.a);
  EXPECT_EQ(m.first(m.a), (((0 + 1) * 10 + 1) + 1) * 10 + 1);
  cuda::destroy_graph(graph);
}

// A kernel that is launched as a dependent of another one, with and without the wait for it. With it, results are the
// same in every order. Without it, the kernel reads what was there before, in a stream and in a graph.
TEST_F(Simulator, AMissingWaitOfADependentKernelShows) {
  const auto run = [](const std::string& order, bool waits, bool captured) {
    simulator::set_order(order);
    Machine m;
    cuda::zero(m.device, sizeof(Floats), m.a);
    cuda::synchronize(m.a);
    if (captured) cuda::begin_capture(m.a);
    simulator::enqueue(m.a, [p = m.device] { p[0] += 1; });
    for (int i = 1; i < 4; ++i) {
      simulator::enqueue_dependent(m.a, [p = m.device, i, waits](const std::function<void()>& wait) {
        if (waits) wait();
        p[i] = 2 * p[i - 1];
      });
    }
    if (captured) {
      const cuda::Graph graph = cuda::end_capture(m.a);
      cuda::launch(graph, m.a);
      m.first(m.a);
      cuda::destroy_graph(graph);
    } else {
      m.first(m.a);
    }
    return *m.pinned;
  };
  const Floats right{1, 2, 4, 8};
  for (const bool captured : {false, true}) {
    for (const char* order : {"lazy", "eager", "1", "2", "3"}) {
      SCOPED_TRACE(fmt::format("{}{}", order, captured ? ", captured" : ""));
      EXPECT_EQ(run(order, true, captured), right);
    }
    EXPECT_NE(run("lazy", false, captured), right);
    int seen = 0;
    for (int seed = 1; seed <= 20; ++seed) seen += run(std::to_string(seed), false, captured) != right ? 1 : 0;
    EXPECT_GT(seen, 0);
    EXPECT_EQ(run("eager", false, captured), right) << "this order takes no freedom";
  }
}

TEST_F(Simulator, ADependentLaunchBehindAJoinIsRefused) {
  Machine m;
  cuda::begin_capture(m.a);
  m.add(m.a, 1);
  cuda::record(m.event, m.a);
  cuda::wait(m.b, m.event);
  m.add(m.b, 1);
  m.add(m.a, 1);
  cuda::record(m.event, m.b);
  cuda::wait(m.a, m.event);
  expect_refused("behind 2 nodes",
                 [&] { simulator::enqueue_dependent(m.a, [](const std::function<void()>& wait) { wait(); }); });
  cuda::abort_capture(m.a);
}

TEST_F(Simulator, ACaptureRefusesWhatCudaRefuses) {
  Machine m;
  const auto capture = [&](const std::function<void()>& body) {
    return [&m, body] {
      cuda::begin_capture(m.a);
      try {
        body();
        cuda::destroy_graph(cuda::end_capture(m.a));
      } catch (...) {
        cuda::abort_capture(m.a);
        throw;
      }
    };
  };
  Floats pageable{};
  expect_refused("being captured", capture([&] { cuda::synchronize(m.a); }));
  expect_refused("waiting while", capture([&] { cuda::synchronize(m.b); }));
  expect_refused("allocating", capture([] { cuda::allocate(64); }));
  expect_refused("freeing", capture([&] {
                   cuda::deallocate(std::exchange(m.device, nullptr));
                   m.add(m.a, 1);
                 }));
  m.device = static_cast<float*>(cuda::allocate(sizeof(Floats)));
  expect_refused("pageable",
                 capture([&] { cuda::copy(m.device, &pageable, sizeof pageable, cuda::Copy::host_to_device, m.a); }));
  expect_refused("not joined", capture([&] {
                   m.add(m.a, 1);
                   cuda::record(m.event, m.a);
                   cuda::wait(m.b, m.event);
                   m.add(m.b, 1);
                 }));
  cuda::record(m.event, m.b);
  expect_refused("of the outside", capture([&] { cuda::wait(m.a, m.event); }));
}

TEST_F(Simulator, TimesAreThoseOfEventsThatHaveHappened) {
  Machine m;
  const cuda::Event begin = cuda::create_event(true), end = cuda::create_event(true);
  expect_refused("never recorded", [&] { cuda::elapsed_ms(begin, end); });
  cuda::record(begin, m.a);
  cuda::record(end, m.a);
  expect_refused("nobody has waited for", [&] { cuda::elapsed_ms(begin, end); });
  cuda::synchronize(end);
  EXPECT_GE(cuda::elapsed_ms(begin, end), 0);
  cuda::destroy_event(begin);
  cuda::destroy_event(end);
}

TEST_F(Simulator, MemoryRunsOutAndComesBack) {
  const size_t before = cuda::free_bytes();
  void* most = cuda::allocate(before - 4096);
  EXPECT_THROW(cuda::allocate(1 << 20), OutOfMemory);
  cuda::deallocate(most);
  EXPECT_EQ(cuda::free_bytes(), before);
}

TEST(SimulatorDeathTest, TheHostCannotTouchDeviceMemory) {
  if (!simulator::protects_memory()) GTEST_SKIP() << "no transparent huge pages: protecting memory would take minutes";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Machine m;
  EXPECT_DEATH(m.device[0] = 1, "");
}

}  // namespace
}  // namespace hr
