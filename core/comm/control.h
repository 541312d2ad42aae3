// The control connections between ranks: how they find each other, exchange small things, and notice that one of them
// is gone. Rank 0 serves on MASTER_ADDR:MASTER_PORT; every rank, 0 included, keeps one TCP connection to it for the
// whole run.
//
// How a failure is noticed. Every rank and the server say a word each `beat()`; whoever is silent for `quiet_limit()`
// is taken for lost: stopped, hung or cut off from the network. A connection that ends without a goodbye is a process
// that died. A rank that keeps the others waiting in a collective for `timeout` is taken for stuck. The server tells
// all the others, with the number of the rank, its host and its process. If rank 0 is the one that is lost, every other
// rank notices by itself.
//
// Who says it. Everything ends up at rank 0, which prints each different message once; if rank 0 is lost, the first
// other rank of each host does.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/comm/ranks.h"
#include "core/comm/socket.h"
#include "core/error.h"

namespace hr {

constexpr int kExitRankLost = 75;  // EX_TEMPFAIL of sysexits.h: nothing wrong with the input, starting again may help

// One rank's failure, as the others are told.
struct Failure {
  int rank = 0;
  int status = 2;     // exit status of that rank, or kExitRankLost
  bool lost = false;  // it could not say so itself
  std::string what;   // one line; for a lost rank it names the rank
};

// Thrown by whatever waits for others when one of them has failed.
struct RankFailed : Error {
  explicit RankFailed(Failure f) : Error(f.what), failure(std::move(f)) {}
  Failure failure;
};

class Control {
 public:
  // Connects to rank 0, which begins to serve. Error within `timeout`: the port is taken, rank 0 cannot be reached.
  Control(Ranks ranks, Milliseconds timeout);
  // Returns when all ranks are there. RankFailed within `timeout`: two ranks have one number, WORLD_SIZE differs, ranks
  // are missing (named), or one of them has failed already.
  void join();
  ~Control();  // without leave(): the others take this rank for lost
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  const Ranks& ranks() const { return ranks_; }
  Milliseconds timeout() const { return timeout_; }
  Milliseconds beat() const;         // timeout / 20, at most 3 s
  Milliseconds quiet_limit() const;  // 0.8 timeout: with a beat and the way to the others, `timeout` at most
  std::string name(int rank) const;  // "rank 2 (host b, process 4711)"
  // This host's address at which the other ranks reach it.
  const std::string& address() const { return address_; }

  // A key-value store. get() waits until somebody has put the key.
  void put(const std::string& key, std::string_view value);
  std::string get(const std::string& key);
  // Everybody's bytes in the order of ranks.
  std::vector<std::string> all_gather(std::string_view mine);
  void barrier() { all_gather({}); }

  // What an engine does, so that the server can tell who is late. Channels count separately.
  static constexpr int kChannels = 2;
  void begin_collective(int channel);
  void end_collective(int channel);
  // While an object of this type lives, this rank may take 20 times as long (a checkpoint, an evaluation).
  class Busy {
   public:
    explicit Busy(Control* control) : control_(control) { set(true); }
    ~Busy() { set(false); }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    void set(bool on) const;
    Control* control_;  // may be null: one process
  };

  std::optional<Failure> failure() const;  // the first one heard of
  void check() const;                      // throws RankFailed
  // Waits for news of a failure, after an engine has lost a connection: the server knows better who died.
  std::optional<Failure> await_failure(Milliseconds limit) const;
  // Called once from the control thread when a failure becomes known: engines wake their waiters. Empty: none.
  void on_failure(std::function<void()> wake);

  // How it ends badly. `own`: what this rank has to say; empty when another one failed. Tells the others, waits for
  // what they have to say, and returns what this process should print (nothing when another one prints it) and its
  // status.
  struct Settlement {
    std::vector<std::string> lines;
    int status = 2;
  };
  // Does not return once the last resort has taken over, since that ends the process.
  Settlement settle(const std::optional<Failure>& own);
  // If the rest of the program does not get round to settle() soon after a failure has become known (it computes, or
  // waits for a disk), the control thread does, and hands the settlement to `last_resort`, which must not return.
  void set_last_resort(std::function<void(const Settlement&)> last_resort);

  // How it ends well: waits for the others.
  void leave();
  // Ends the threads and connections; on rank 0, once the others have been told everything. Nothing but the destructor
  // may follow.
  void close();

 private:
  class Server;
  struct Person {
    std::string host;
    int pid = 0, local_rank = 0;
  };

  void run();
  void talk(Clock::time_point& last_beat);
  void hang_up();
  Settlement settled(const std::optional<Failure>& own);  // without a look at the last resort
  bool ready() const;
  void handle(const Channel::Message& message);
  void learn(Failure failure);
  void tell(uint8_t kind, std::string_view payload);
  bool speaks_for_host(int lost) const;
  template <class Ready>
  void wait(const char* what, Milliseconds limit, const Ready& ready);

  Ranks ranks_;
  Milliseconds timeout_;
  std::string address_;
  std::vector<Person> people_;  // by rank, once all are there
  std::unique_ptr<Server> server_;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  Channel channel_;
  WakePipe wake_;
  std::thread thread_;
  bool ready_ = false, stopping_ = false, farewell_ = false, printed_ = false, settling_ = false, resorting_ = false,
       gone_ = false, waking_ = false;
  Clock::time_point heard_;
  Clock::time_point started_;
  std::vector<std::string> lines_;  // rank 0: to print
  std::optional<Failure> failure_;
  std::optional<Clock::time_point> failed_at_;
  std::function<void()> on_failure_;
  std::function<void(const Settlement&)> last_resort_;
  std::map<std::string, std::string> values_;
  std::deque<std::vector<std::string>> gathered_;
  struct Progress {
    uint64_t entered = 0;
    bool inside = false;
    Clock::time_point since;
  };
  Progress progress_[kChannels];
  int busy_ = 0;
};

}  // namespace hr
