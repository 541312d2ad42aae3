// The control connections between ranks: how ranks find each other, exchange small values, and notice that one of them
// has failed. Rank 0 serves on MASTER_ADDR:MASTER_PORT; every rank, rank 0 included, keeps one TCP connection to it for
// the whole run. README.md in this folder explains how a failure is noticed and which process prints it.
//
// failure(), check(), await_failure(), begin_collective(), end_collective() and Busy may be used from any thread, the
// other functions from one thread.
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

constexpr int kExitRankLost = 75;  // EX_TEMPFAIL of sysexits.h: the input is not wrong, and starting again may help.

// The failure of one rank, as it is reported to the others.
struct Failure {
  int rank = 0;
  int status = 2;     // The exit status of that rank, or kExitRankLost.
  bool lost = false;  // The rank could not report the failure itself.
  std::string what;   // One line; if the rank is lost, the line names it.
};

// Thrown by every function that waits for other ranks when one of them has failed.
struct RankFailed : Error {
  explicit RankFailed(Failure f) : Error(f.what), failure(std::move(f)) {}
  Failure failure;
};

class Control {
 public:
  // Connects to rank 0, where this also starts the server. Throws Error within `timeout` if the port is taken or rank 0
  // cannot be reached.
  Control(Ranks ranks, Milliseconds timeout);
  // Returns when all ranks have joined. Throws RankFailed within `timeout` if two ranks have the same number,
  // WORLD_SIZE differs, ranks are missing (the message names them), or one of them has failed already.
  void join();
  ~Control();  // Without leave() before it, the others regard this rank as lost.
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  const Ranks& ranks() const { return ranks_; }
  Milliseconds timeout() const { return timeout_; }
  Milliseconds beat() const;  // The time between two heartbeats: timeout / 20, at most 3 s.
  // 0.8 timeout; together with a heartbeat and the way to the others this is at most `timeout`.
  Milliseconds quiet_limit() const;
  std::string name(int rank) const;  // For example "rank 2 (host b, process 4711)".
  // The address of this host at which the other ranks reach it.
  const std::string& address() const { return address_; }

  // A key-value store. get() waits until some rank has put the key.
  void put(const std::string& key, std::string_view value);
  std::string get(const std::string& key);
  // Returns the bytes of every rank, in the order of ranks.
  std::vector<std::string> all_gather(std::string_view mine);
  void barrier() { all_gather({}); }

  // Engines report here when they enter and leave a collective, so that the server can tell which rank is late. The
  // channels count separately.
  static constexpr int kChannels = 2;
  void begin_collective(int channel);
  void end_collective(int channel);
  // While an object of this type exists, this rank may keep the others waiting 20 times as long as usual. Use it while
  // it writes a checkpoint or evaluates.
  class Busy {
   public:
    explicit Busy(Control* control) : control_(control) { set(true); }
    ~Busy() { set(false); }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    void set(bool on) const;
    Control* control_;  // Null if there is only one process.
  };

  std::optional<Failure> failure() const;  // The first failure that this rank has been told of.
  void check() const;                      // Throws RankFailed if there is a failure.
  // Waits for the report of a failure. An engine calls it after it has lost a connection, because the server knows
  // which rank died.
  std::optional<Failure> await_failure(Milliseconds limit) const;
  // `wake` is called once, from the control thread, when a failure becomes known, so that engines can wake the threads
  // that wait in them. An empty function removes it.
  void on_failure(std::function<void()> wake);

  // Ends a run after a failure. `own` is the failure of this rank; it is empty when another rank failed. Reports it to
  // the others, waits for their reports, and returns the exit status and what this process must print (nothing when
  // another process prints it).
  struct Settlement {
    std::vector<std::string> lines;
    int status = 2;
  };
  // Does not return if the last resort has already taken over, because that ends the process.
  Settlement settle(const std::optional<Failure>& own);
  // The rest of the program may be computing or waiting for a disk and not call settle() soon after a failure has
  // become known. The control thread then does so and passes the settlement to `last_resort`, which must not return.
  void set_last_resort(std::function<void(const Settlement&)> last_resort);

  // Ends a run without failure: waits for the other ranks.
  void leave();
  // Ends the threads and connections, on rank 0 after everything has been sent to the others. Only the destructor may
  // be called afterwards.
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
  Settlement settled(const std::optional<Failure>& own);  // Settles without waiting for the last resort.
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
  std::vector<Person> people_;  // Indexed by rank; filled when all ranks have joined.
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
  std::vector<std::string> lines_;  // On rank 0: the lines to print.
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
