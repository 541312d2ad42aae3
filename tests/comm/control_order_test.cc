// Control connections that end at the worst moment. The tests force this moment: send() of this test program first does
// what the other side must have done by then.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <latch>

#include "core/comm/control.h"
#include "core/comm/control_messages.h"
#include "tests/support/ranks.h"

namespace {

std::function<void(int fd)> before_send;  // set while no thread sends

int port_of_peer(int fd) {
  sockaddr_in to{};
  socklen_t size = sizeof to;
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&to), &size) == 0 ? ntohs(to.sin_port) : 0;
}

}  // namespace

extern "C" ssize_t send(int fd, const void* data, size_t size, int flags) {
  if (before_send) before_send(fd);
  return ::sendto(fd, data, size, flags, nullptr, 0);
}

namespace hr {
namespace {

using test::RankSetup;

Descriptor accepted(const Descriptor& listener) {
  pollfd ready{listener.get(), POLLIN, 0};
  ::poll(&ready, 1, 10'000);
  return accept_from(listener);
}

// On a slow machine, a rank that is turned away may not read for a while. Meanwhile rank 0 sends the reason and closes
// the connection, and then the rank's next heartbeat cannot be written. The rank used to end with status 75, which asks
// for a restart.
TEST(ControlOrder, ARankWhoseHeartbeatFailsStillHearsWhyItWasTurnedAway) {
  const Descriptor listener = listen_on(0, true);
  std::atomic<int> sent{0};
  before_send = [&](int) {
    if (++sent != 2) return;  // the first is the rank's hello, the second its heartbeat
    Channel server(accepted(listener));
    server.send(control::abort_with,
                control::pack({.rank = -1, .status = 2, .what = "has WORLD_SIZE=4, rank 0 has WORLD_SIZE=3"}));
    server.flush();
  };  // closed with the hello unread, so the rank's kernel refuses to send
  {
    Control control({.rank = 1, .size = 4, .local_rank = 1, .port = port_of(listener)}, Milliseconds(2000));
    try {
      control.join();
      ADD_FAILURE() << "joined";
    } catch (const RankFailed& e) {
      EXPECT_NE(std::string(e.what()).find("WORLD_SIZE=4"), std::string::npos) << e.what();
      EXPECT_EQ(e.failure.status, 2);
    }
    EXPECT_EQ(control.settle({}).status, 2);
  }
  before_send = nullptr;
}

// The same at the other end: a rank reports an error in its input and is gone when rank 0 sends its next heartbeat.
TEST(ControlOrder, TheErrorOfARankThatIsGoneAtTheNextHeartbeatIsHeard) {
  RankSetup setup(2);
  auto rank = std::make_unique<Channel>(
      connect_to("127.0.0.1", setup.ranks[0].port, Clock::now() + test::kRankTimeout, "the test"));
  const int port = port_of(rank->socket());
  std::atomic<int> sent{0};
  before_send = [&](int fd) {
    if (port_of_peer(fd) != port || ++sent != 2) return;  // the first is rank 0's welcome
    rank->send(control::fail_with, control::pack({.rank = 1, .status = 2, .what = "photo.jpg: truncated"}));
    rank->flush();
    rank.reset();  // with the welcome unread
  };
  rank->send(control::hello,
             Packer().text(control::kMagic).u32(1).u32(2).text("here").u32(77).u32(1).text(setup.ranks[0].run).str());
  rank->flush();
  {
    Control first(setup.ranks[0], test::kRankTimeout);
    const std::optional<Failure> failure = first.await_failure(test::kRankTimeout);
    ASSERT_TRUE(failure.has_value());
    EXPECT_EQ(failure->what, "photo.jpg: truncated");
    EXPECT_EQ(failure->status, 2);
    EXPECT_FALSE(failure->lost);
    EXPECT_EQ(first.settle({}).status, 2);
  }
  before_send = nullptr;
}

// Ctrl-Z may stop the run after a rank has measured how long it was stopped itself and before it judges how long rank 0
// has been silent. The rank must not take the time in which nothing ran for silence.
TEST(ControlOrder, ARunThatIsStoppedBetweenMeasuringAndJudgingGoesOn) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    RankSetup setup(2);
    const int port = setup.ranks[0].port;
    std::atomic<int> joined{0}, sender{-1};
    std::atomic<bool> server_waits{false}, stopped{false}, failed{false};
    before_send = [&](int fd) {
      if (joined < 2 || stopped) return;
      if (port_of_peer(fd) != port) {  // the server, whose next heartbeat comes only after the stop
        server_waits = true;
        while (!stopped) std::this_thread::sleep_for(Milliseconds(1));
        return;
      }
      int nobody = -1;
      // Between its first and its second heartbeat a rank reads what the server has sent before.
      if (!server_waits || sender.compare_exchange_strong(nobody, fd) || sender != fd) return;
      ::raise(SIGSTOP);
      stopped = true;
    };
    std::vector<std::thread> threads;
    for (int r = 0; r < 2; ++r) {
      threads.emplace_back([&, r] {
        try {
          Control control(setup.ranks[r], Milliseconds(1000));
          control.join();
          ++joined;
          while (!stopped) std::this_thread::sleep_for(Milliseconds(1));
          control.barrier();
          control.leave();
        } catch (const Error& e) {
          fmt::print(stderr, "rank {}: {}\n", r, e.what());
          failed = true;
        }
      });
    }
    for (std::thread& t : threads) t.join();
    ::_exit(failed ? 1 : 0);
  }
  int status = -1;
  ::waitpid(pid, &status, WUNTRACED);
  ASSERT_TRUE(WIFSTOPPED(status)) << status;
  std::this_thread::sleep_for(Milliseconds(1500));  // longer than the silence that the ranks allow each other
  ::kill(pid, SIGCONT);
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
}

// The program computes for a while after another rank has failed, and ends just when the last resort has begun to end
// the process. Only one of them may print and close the connection.
TEST(ControlOrder, TheProgramDoesNotSettleBesideTheLastResort) {
  RankSetup setup(2);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Channel rank(connect_to("127.0.0.1", setup.ranks[0].port, Clock::now() + test::kRankTimeout, "the test"));
    rank.send(control::hello,
              Packer().text(control::kMagic).u32(1).u32(2).text("here").u32(77).u32(1).text(setup.ranks[0].run).str());
    rank.send(control::fail_with, control::pack({.rank = 1, .status = 2, .what = "photo.jpg: truncated"}));
    rank.flush();
    Control control(setup.ranks[0], test::kRankTimeout);
    std::latch begun(1);
    std::atomic<bool> settled_twice{false};
    control.set_last_resort([&](const Control::Settlement& end) {
      begun.count_down();
      settled_twice.wait(false, std::memory_order_acquire);  // waits forever if all is well
      ::_exit(end.lines.size() == 1 ? 3 : 4);
    });
    std::thread watch([&] {
      begun.wait();
      std::this_thread::sleep_for(Milliseconds(300));  // time for the mistake to happen; it used to come at once
      if (!settled_twice) ::_exit(0);
    });
    begun.wait();
    control.settle(Failure{.rank = 0, .what = "loss is nan"});
    settled_twice = true;
    settled_twice.notify_all();
    watch.join();
    ::_exit(5);
  }
  Descriptor(setup.ranks[0].listen_fd).reset();
  int status = -1;
  ::waitpid(pid, &status, 0);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0) << "settled beside the last resort";
}

}  // namespace
}  // namespace hr
