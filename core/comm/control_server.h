// The server of the control connection, which runs on rank 0: one thread with one poll loop.
#pragma once
#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/comm/control_messages.h"

namespace hr {

class Control::Server {
 public:
  Server(const Ranks& ranks, Milliseconds timeout, Milliseconds beat, Milliseconds quiet_limit);

  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  struct Peer {
    Channel channel;
    Person person;
    int rank = -1;  // -1 until the peer has sent its hello.
    Clock::time_point heard = Clock::now();
    bool said_bye = false, reported = false, closing = false;
    std::optional<Clock::time_point> turned_away;
    std::deque<std::string> gathers;
    std::array<uint64_t, kChannels> entered{};
    std::array<Milliseconds, kChannels> waited{};
    bool busy = false;
    std::string name() const { return control::describe(rank, person.host, person.pid); }
  };

  enum class Phase { joining, running, aborting, ending };

  void run();
  bool finished() const;
  void wait();
  void listen();
  void receive(Peer& peer);
  void hear_out(Peer& peer);
  void drop(Peer& peer);
  void greet(Peer& peer, const Channel::Message& message);
  static void turn_away(Peer& peer, const Failure& failure);
  static bool leaves(const Peer& peer);
  void begin();
  void handle(Peer& peer, const Channel::Message& message);
  static void answer(Peer& peer, const std::string& key, const std::string& what);
  void answer(Peer& peer, const std::string& key);
  int64_t gather_waiting() const;
  void give_gathered();
  void say_farewell();
  void end(Milliseconds patience);
  void abort(Failure failure);
  void judge();
  void judge_progress(int c);
  void hand_over();

  const Ranks ranks_;
  const Milliseconds timeout_, beat_, quiet_limit_;
  Descriptor listener_;
  WakePipe wake_;
  std::atomic<bool> stop_{false};
  Phase phase_ = Phase::joining;
  Clock::time_point deadline_, gather_began_ = Clock::now();
  control::OwnAbsence absence_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<Peer*> by_rank_;
  std::map<std::string, std::string> store_;
  std::map<std::string, std::vector<Peer*>> wanted_;
  std::vector<Failure> failures_;
  std::string reached_at_;
  int byes_ = 0;
  std::thread thread_;
};

}  // namespace hr
