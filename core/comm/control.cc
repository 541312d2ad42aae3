#include "core/comm/control.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <set>

#include "core/parallel.h"

namespace hr {
namespace {

constexpr std::string_view kMagic = "hrnet.cpp ranks 1";
constexpr size_t kLargest = size_t{1} << 30;  // Limits the results of a gather; the limit for hello is far lower.
constexpr size_t kWelcome = size_t{1} << 20;  // The limit before the server has identified itself as rank 0.
constexpr Milliseconds kGrace{500};           // Ranks that fail for the same reason do so within this time.
constexpr Milliseconds kPrintedWithin{3000};  // Rank 0 gets this long to take over the printing.
constexpr Milliseconds kHangsUpWithin{1000};
constexpr int kPatience = 20;  // A barrier or a busy rank may take this many times longer.

enum Kind : uint8_t {
  // Messages to the server.
  hello = 1,
  put,
  get,
  gather,
  fail_with,
  bye,
  // Messages to a rank.
  welcome,
  value,
  gathered,
  abort_with,
  printed,
  farewell,
  // Messages in both directions.
  beat_beat,
};

Milliseconds since(Clock::time_point t) { return std::chrono::duration_cast<Milliseconds>(Clock::now() - t); }
double seconds(Milliseconds t) { return static_cast<double>(t.count()) / 1000; }

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

std::string describe(int rank, const std::string& host, int pid) {
  return fmt::format("rank {} (host {}, process {})", rank, host, pid);
}

std::string pack(const Failure& f) {
  return Packer()
      .u32(static_cast<uint32_t>(f.rank))
      .u32(static_cast<uint32_t>(f.status))
      .u32(f.lost)
      .text(f.what)
      .str();
}

Failure unpack_failure(std::string_view payload) {
  Unpack in(payload);
  Failure f;
  f.rank = static_cast<int>(in.u32());
  f.status = static_cast<int>(in.u32());
  f.lost = in.u32() != 0;
  f.what = in.text();
  return f;
}

// A thread that was itself stopped, or that got no processor time on a busy machine, must not mistake its own absence
// for silence of the others. This measures the absence, so that it can be forgiven.
class OwnAbsence {
 public:
  explicit OwnAbsence(Milliseconds beat) : allowed_(2 * beat + Milliseconds(500)) {}
  // Call once per round of the loop. Returns how much time to forgive all others.
  Clock::duration round() {
    const auto now = Clock::now(), before = last_;
    last_ = now;
    return now - before > allowed_ ? now - before : Clock::duration{};
  }

 private:
  Clock::duration allowed_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace

// The server, which runs on rank 0: one thread with one poll loop.
class Control::Server {
 public:
  Server(const Ranks& ranks, Milliseconds timeout, Milliseconds beat, Milliseconds quiet_limit)
      : ranks_(ranks), timeout_(timeout), beat_(beat), quiet_limit_(quiet_limit), absence_(beat) {
    listener_ = ranks.listen_fd >= 0 ? Descriptor(ranks.listen_fd) : listen_on(ranks.port, false, ranks.port_name);
    ::fcntl(listener_.get(), F_SETFD, FD_CLOEXEC);  // Child processes must not inherit the listening socket.
    by_rank_.resize(ranks.size, nullptr);
    thread_ = std::thread([this] { run(); });
  }

  ~Server() {
    stop_ = true;
    wake_.wake();
    thread_.join();
  }
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
    std::string name() const { return describe(rank, person.host, person.pid); }
  };

  enum class Phase { joining, running, aborting, ending };

  void run() {
    unpin_this_thread();
    const auto started = Clock::now();
    deadline_ = started + timeout_;
    auto last_beat = started;
    while (!finished()) {
      wait();
      const auto absent = absence_.round();
      if (absent > Clock::duration{}) {
        for (const auto& peer : peers_) peer->heard += absent;
        if (phase_ == Phase::joining) deadline_ += absent;
        gather_began_ += absent;
      }
      listen();
      for (size_t i = 0; i < peers_.size(); ++i) receive(*peers_[i]);
      judge();
      if (Clock::now() - last_beat >= beat_) {
        last_beat = Clock::now();
        for (const auto& peer : peers_) {
          if (!peer->closing) peer->channel.send(beat_beat, {});
        }
      }
      for (const auto& peer : peers_) {
        if (peer->channel.open() && !peer->channel.flush()) {
          hear_out(*peer);
          drop(*peer);
        }
        if (peer->turned_away && !peer->channel.pending()) peer->channel.end_sending();
      }
      std::erase_if(peers_, [](const auto& peer) { return !peer->channel.open() || leaves(*peer); });
    }
  }

  bool finished() const {
    if (stop_ && (phase_ == Phase::joining || phase_ == Phase::running)) return true;
    if (phase_ != Phase::ending) return false;
    return peers_.empty() || Clock::now() > deadline_;
  }

  void wait() {
    std::vector<pollfd> polled{{wake_.fd(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const auto& peer : peers_) {
      polled.push_back({peer->channel.fd(), static_cast<short>(POLLIN | (peer->channel.pending() ? POLLOUT : 0)), 0});
    }
    const auto pause = phase_ == Phase::running ? beat_ : std::min(beat_, Milliseconds(50));
    ::poll(polled.data(), polled.size(), static_cast<int>(pause.count()));
    wake_.drain();
  }

  void listen() {
    for (;;) {
      Descriptor socket = accept_from(listener_);
      if (!socket.open()) return;
      const std::string here = local_address(socket);
      if (!is_loopback(here)) reached_at_ = here;
      auto peer = std::make_unique<Peer>();
      peer->channel = Channel(std::move(socket));
      peers_.push_back(std::move(peer));
    }
  }

  void receive(Peer& peer) {
    if (!peer.channel.open() || (peer.closing && !peer.turned_away)) return;
    const bool alive = peer.channel.fill();
    try {
      Channel::Message message;
      while (peer.channel.open() && !peer.closing && peer.channel.next(message)) {
        peer.heard = Clock::now();
        peer.rank < 0 ? greet(peer, message) : handle(peer, message);
      }
    } catch (const Error&) {  // The peer is not a rank of ours, or sends nonsense.
      drop(peer);
      return;
    }
    if (!alive) drop(peer);
  }

  // A connection that cannot be written to may have ended after receive() looked. The messages that its rank had sent
  // before, above all an error, say more than the end of the connection, so they are read first.
  void hear_out(Peer& peer) {
    for (bool more = true; more && peer.channel.open();) {
      const size_t had = peer.channel.received();
      receive(peer);
      more = peer.channel.open() && peer.channel.received() > had;
    }
  }

  void drop(Peer& peer) {
    if (!peer.channel.open()) return;
    peer.channel.close();
    if (peer.rank < 0) return;
    if (by_rank_[peer.rank] == &peer) by_rank_[peer.rank] = nullptr;
    if ((phase_ == Phase::joining || phase_ == Phase::running) && !peer.said_bye) {
      abort({.rank = peer.rank,
             .status = kExitRankLost,
             .lost = true,
             .what = peer.name() + " ended without a word; was it killed?"});
    }
  }

  void greet(Peer& peer, const Channel::Message& message) {
    Unpack in(message.payload);
    hr::check(message.kind == hello && in.text() == kMagic, "not a rank");
    const auto rank = static_cast<int>(in.u32()), size = static_cast<int>(in.u32());
    peer.person = {.host = in.text(), .pid = static_cast<int>(in.u32()), .local_rank = static_cast<int>(in.u32())};
    const std::string run = in.text();
    const std::string who = describe(rank, peer.person.host, peer.person.pid);
    const bool accepting = phase_ == Phase::joining || !failures_.empty();
    if (run != ranks_.run || !accepting) {
      turn_away(peer, {.rank = -1, .what = who + " was turned away: the run at this address is not its own"});
      return;
    }
    if (phase_ != Phase::joining && (rank != 0 || by_rank_[0] != nullptr)) {
      turn_away(peer, failures_.front());
      return;
    }
    std::string reason;
    if (size != ranks_.size) {
      reason = fmt::format("{} has WORLD_SIZE={}, rank 0 has WORLD_SIZE={}", who, size, ranks_.size);
    } else if (rank < 0 || rank >= size) {
      reason = fmt::format("{} has the invalid rank {} of {}", who, rank, size);
    } else if (by_rank_[rank] != nullptr) {
      const Person& other = by_rank_[rank]->person;
      reason = fmt::format("two processes have RANK={}: process {} on host {} and process {} on host {}", rank,
                           other.pid, other.host, peer.person.pid, peer.person.host);
    }
    if (!reason.empty()) {
      const Failure failure{.rank = -1, .what = reason};
      abort(failure);
      turn_away(peer, failure);
      return;
    }
    peer.rank = rank;
    peer.channel.limit = kLargest;
    by_rank_[rank] = &peer;
    if (phase_ != Phase::joining) {  // This is rank 0, whose hello came after a failure of other ranks.
      peer.channel.send(abort_with, pack(failures_.front()));
      return;
    }
    if (std::count(by_rank_.begin(), by_rank_.end(), nullptr) == 0) begin();
  }

  static void turn_away(Peer& peer, const Failure& failure) {
    peer.channel.send(abort_with, pack(failure));
    peer.closing = true;
    peer.turned_away = Clock::now();
  }

  // A peer that was turned away must close the connection first. If this side closed it while messages are unread, the
  // system could discard what this side has sent.
  static bool leaves(const Peer& peer) {
    return peer.closing && !peer.channel.pending() &&
           (!peer.turned_away || Clock::now() - *peer.turned_away > kHangsUpWithin);
  }

  void begin() {
    phase_ = Phase::running;
    Packer all;
    all.text(reached_at_);
    for (const Peer* peer : by_rank_) {
      all.text(peer->person.host).u32(static_cast<uint32_t>(peer->person.pid));
      all.u32(static_cast<uint32_t>(peer->person.local_rank));
    }
    for (Peer* peer : by_rank_) peer->channel.send(welcome, all.str());
  }

  void handle(Peer& peer, const Channel::Message& message) {
    Unpack in(message.payload);
    switch (message.kind) {
      case Kind::put: {
        const std::string key = in.text();
        store_[key] = in.text();
        for (Peer* waiting : std::exchange(wanted_[key], {})) answer(*waiting, key);
        break;
      }
      case Kind::get: {
        const std::string key = in.text();
        store_.contains(key) ? answer(peer, key) : wanted_[key].push_back(&peer);
        break;
      }
      case Kind::gather:
        if (gather_waiting() == 0) gather_began_ = Clock::now();
        peer.gathers.push_back(message.payload);
        give_gathered();
        break;
      case beat_beat:
        for (int c = 0; c < kChannels; ++c) {
          peer.entered[c] = in.u64();
          peer.waited[c] = Milliseconds(in.u64());
        }
        peer.busy = in.u32() != 0;
        break;
      case fail_with: {
        Failure failure = unpack_failure(message.payload);
        failure.rank = peer.rank;
        peer.reported = true;
        if (!failure.what.empty()) abort(std::move(failure));
        break;
      }
      case bye:
        peer.said_bye = true;
        ++byes_;
        say_farewell();
        break;
      default:
        fail("unknown message");
    }
  }

  static void answer(Peer& peer, const std::string& key, const std::string& what) {
    peer.channel.send(value, Packer().text(key).text(what).str());
  }
  void answer(Peer& peer, const std::string& key) {
    if (std::find(by_rank_.begin(), by_rank_.end(), &peer) != by_rank_.end()) answer(peer, key, store_[key]);
  }

  int64_t gather_waiting() const {
    return std::count_if(by_rank_.begin(), by_rank_.end(), [](const Peer* p) { return p && !p->gathers.empty(); });
  }

  void give_gathered() {
    while (gather_waiting() == ranks_.size) {
      Packer all;
      for (Peer* peer : by_rank_) {
        all.text(peer->gathers.front());
        peer->gathers.pop_front();
      }
      for (Peer* peer : by_rank_) peer->channel.send(gathered, all.str());
      gather_began_ = Clock::now();
    }
  }

  void say_farewell() {
    if (phase_ != Phase::running || byes_ < ranks_.size) return;
    for (const auto& peer : peers_) peer->channel.send(farewell, {});
    end(Milliseconds(1000));
  }

  void end(Milliseconds patience) {
    phase_ = Phase::ending;
    deadline_ = Clock::now() + patience;
  }

  // The first failure is reported to all others at once. Then, for a short time, their own reports are collected.
  void abort(Failure failure) {
    failures_.push_back(std::move(failure));
    if (phase_ == Phase::aborting || phase_ == Phase::ending) return;
    phase_ = Phase::aborting;
    deadline_ = Clock::now() + kGrace;
    const Failure& first = failures_.front();
    for (const auto& peer : peers_) {
      if (peer->rank >= 0 && !peer->reported) peer->channel.send(abort_with, pack(first));
      if (first.lost && peer->rank == first.rank) peer->closing = true;  // A lost rank will not answer.
    }
  }

  void judge() {
    const auto now = Clock::now();
    if (phase_ == Phase::aborting) {
      const bool all = std::all_of(peers_.begin(), peers_.end(),
                                   [](const auto& p) { return p->reported || p->closing || p->rank < 0; });
      if (now > deadline_ || (all && by_rank_[0] != nullptr)) hand_over();
      return;
    }
    if (phase_ == Phase::joining && now > deadline_) {
      std::vector<int> missing;
      for (int r = 0; r < ranks_.size; ++r) {
        if (by_rank_[r] == nullptr) missing.push_back(r);
      }
      abort({.rank = -1,
             .status = 2,
             .what = fmt::format("of {} ranks, {} did not come to {}:{} within {:g} s (--dist-timeout): {}",
                                 ranks_.size, missing.size(), ranks_.address, ranks_.port, seconds(timeout_),
                                 fmt::join(missing, ", "))});
      return;
    }
    if (phase_ != Phase::running) return;
    for (const auto& peer : peers_) {
      if (peer->rank < 0 && now - peer->heard > timeout_) drop(*peer);
      if (peer->rank >= 0 && now - peer->heard > quiet_limit_) {
        abort({.rank = peer->rank,
               .status = kExitRankLost,
               .lost = true,
               .what = fmt::format("{} has been silent for {:.1f} s: stopped, or cut off from the network",
                                   peer->name(), seconds(since(peer->heard)))});
        return;
      }
    }
    if (gather_waiting() > 0 && now - gather_began_ > kPatience * timeout_) {
      std::string late;
      for (const Peer* peer : by_rank_) {
        if (peer != nullptr && peer->gathers.empty()) late += (late.empty() ? "" : ", ") + peer->name();
      }
      abort({.rank = -1,
             .status = kExitRankLost,
             .lost = true,
             .what = fmt::format("the others have waited {:g} s for {}", seconds(kPatience * timeout_), late)});
      return;
    }
    for (int c = 0; c < kChannels && phase_ == Phase::running; ++c) judge_progress(c);
  }

  // A rank has waited too long in a collective. Finds the rank that it waits for.
  void judge_progress(int c) {
    const Peer *waiter = nullptr, *late = nullptr;
    bool busy = false;
    for (const Peer* peer : by_rank_) {
      if (peer == nullptr) continue;
      if (peer->waited[c] > timeout_ && (waiter == nullptr || peer->entered[c] > waiter->entered[c])) waiter = peer;
      if (late == nullptr || peer->entered[c] < late->entered[c]) late = peer;
      busy = busy || peer->busy;
    }
    if (waiter == nullptr) return;
    if (busy && waiter->waited[c] <= kPatience * timeout_) return;
    if (late->entered[c] < waiter->entered[c]) {
      abort({.rank = late->rank,
             .status = kExitRankLost,
             .lost = true,
             .what = fmt::format("{} is alive but has kept {} waiting for {:.1f} s: stuck", late->name(),
                                 waiter->name(), seconds(waiter->waited[c]))});
    } else {
      abort(
          {.rank = -1,
           .status = kExitRankLost,
           .lost = true,
           .what = fmt::format("all ranks are alive, but what they exchange has not arrived for {:.1f} s: the network "
                               "between two of them is broken ({} waits)",
                               seconds(waiter->waited[c]), waiter->name())});
    }
  }

  // Rank 0 prints each different message once. A message that only one rank reported begins with the name of that rank.
  void hand_over() {
    std::vector<std::pair<std::string, std::vector<int>>> told;
    for (const Failure& f : failures_) {
      auto it = std::find_if(told.begin(), told.end(), [&](const auto& t) { return t.first == f.what; });
      if (it == told.end()) it = told.insert(told.end(), {f.what, {}});
      if (!f.lost && f.rank >= 0) it->second.push_back(f.rank);
    }
    Packer lines;
    lines.u32(static_cast<uint32_t>(told.size()));
    for (const auto& [what, ranks] : told) {
      const Peer* peer = ranks.size() == 1 ? by_rank_[ranks[0]] : nullptr;
      lines.text(peer == nullptr ? what : peer->name() + ": " + what);
    }
    for (const auto& peer : peers_) {
      if (peer->rank >= 0) peer->channel.send(printed, peer->rank == 0 ? lines.str() : Packer().u32(0).str());
    }
    end(Milliseconds(1000));
  }

  const Ranks ranks_;
  const Milliseconds timeout_, beat_, quiet_limit_;
  Descriptor listener_;
  WakePipe wake_;
  std::atomic<bool> stop_{false};
  Phase phase_ = Phase::joining;
  Clock::time_point deadline_, gather_began_ = Clock::now();
  OwnAbsence absence_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<Peer*> by_rank_;
  std::map<std::string, std::string> store_;
  std::map<std::string, std::vector<Peer*>> wanted_;
  std::vector<Failure> failures_;
  std::string reached_at_;
  int byes_ = 0;
  std::thread thread_;
};

Control::Control(Ranks ranks, Milliseconds timeout) : ranks_(std::move(ranks)), timeout_(timeout) {
  hr::check(timeout_ >= Milliseconds(100), "--dist-timeout {:g}: expected at least 0.1 s", seconds(timeout_));
  started_ = Clock::now();
  if (ranks_.rank == 0) server_ = std::make_unique<Server>(ranks_, timeout_, beat(), quiet_limit());
  channel_ = Channel(
      connect_to(ranks_.address, ranks_.port, started_ + timeout_, fmt::format("MASTER_ADDR, {}", ranks_.port_name)));
  channel_.limit = kWelcome;
  channel_.send(hello, Packer()
                           .text(kMagic)
                           .u32(static_cast<uint32_t>(ranks_.rank))
                           .u32(static_cast<uint32_t>(ranks_.size))
                           .text(host_name())
                           .u32(static_cast<uint32_t>(::getpid()))
                           .u32(static_cast<uint32_t>(ranks_.local_rank))
                           .text(ranks_.run)
                           .str());
  address_ = local_address(channel_.socket());
  heard_ = Clock::now();
  thread_ = std::thread([this] { run(); });
}

void Control::join() {
  // Rank 0 must be the first to give up on missing ranks, because it knows which ones are missing. The others wait a
  // little longer.
  const auto limit = std::chrono::duration_cast<Milliseconds>(started_ + timeout_ + timeout_ / 4 - Clock::now());
  wait("joining", std::max(limit, Milliseconds(1)), [&] { return ready_; });
}

Control::~Control() { close(); }

void Control::close() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.wake();
  if (thread_.joinable()) thread_.join();
  channel_.close();
  server_.reset();
}

Milliseconds Control::beat() const { return std::min(timeout_ / 20, Milliseconds(3000)); }
Milliseconds Control::quiet_limit() const { return timeout_ * 4 / 5; }

std::string Control::name(int rank) const {
  const std::lock_guard lock(mutex_);
  if (rank < 0 || static_cast<size_t>(rank) >= people_.size()) return fmt::format("rank {}", rank);
  return describe(rank, people_[rank].host, people_[rank].pid);
}

// ---- The control thread ----

void Control::run() {
  unpin_this_thread();
  OwnAbsence absence(beat());
  auto last_beat = Clock::now();
  for (;;) {
    bool open = false, pending = false;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) break;
      open = !gone_;
      pending = open && channel_.pending();
    }
    std::array<pollfd, 2> polled{
        {{wake_.fd(), POLLIN, 0}, {channel_.fd(), static_cast<short>(POLLIN | (pending ? POLLOUT : 0)), 0}}};
    ::poll(polled.data(), open ? 2 : 1, static_cast<int>(beat().count()));
    wake_.drain();
    heard_ += absence.round();
    if (open) {
      talk(last_beat);
    }
    std::function<void(const Settlement&)> end;
    {
      const std::lock_guard lock(mutex_);
      const auto patience = std::max(Milliseconds(1000), timeout_ / 10);
      if (failed_at_ && !settling_ && last_resort_ && since(*failed_at_) > patience) {
        resorting_ = true;  // From here on settle() on another thread waits.
        end = std::exchange(last_resort_, nullptr);
      }
    }
    if (end) std::thread([this, end = std::move(end)] { end(settled({})); }).detach();
  }
}

// Writes, reads, then judges, in this order. The other side may send its last message and close the connection between
// any two of these steps. A write then fails although the message with the reason can still be read.
void Control::talk(Clock::time_point& last_beat) {
  bool written = true;
  {
    const std::lock_guard lock(mutex_);
    if (Clock::now() - last_beat >= beat()) {
      last_beat = Clock::now();
      Packer word;
      for (const Progress& p : progress_) {
        word.u64(p.entered).u64(p.inside ? static_cast<uint64_t>(since(p.since).count()) : 0);
      }
      channel_.send(beat_beat, word.u32(busy_ > 0).str());
    }
    written = channel_.flush();
  }
  bool alive = true;
  try {
    for (bool more = true; more;) {
      const size_t had = channel_.received();
      alive = channel_.fill();
      // If the connection has ended, reads everything that is left.
      more = !written && alive && channel_.received() > had;
      Channel::Message message;
      while (channel_.next(message)) {
        heard_ = Clock::now();
        handle(message);
      }
    }
  } catch (const Error&) {
    learn({.rank = -1,
           .status = 2,
           .what = fmt::format("the process that answers at {}:{} ({}) is not rank 0 of this program", ranks_.address,
                               ranks_.port, ranks_.port_name)});
    hang_up();  // Comes after learn(), so that waiting threads wake up with the reason.
    return;
  }
  if (!alive || !written) {
    learn({.rank = 0,
           .status = kExitRankLost,
           .lost = true,
           .what = ready() ? name(0) + " ended without a word; was it killed?"
                           : fmt::format("rank 0 at {}:{} ended the connection; is something else listening there?",
                                         ranks_.address, ranks_.port)});
    hang_up();
  } else if (ready() && Clock::now() - heard_ > quiet_limit()) {
    learn({.rank = 0,
           .status = kExitRankLost,
           .lost = true,
           .what = fmt::format("{} has been silent for {:.1f} s: stopped, or {} is cut off from the network", name(0),
                               seconds(since(heard_)), host_name())});
    hang_up();
  }
}

void Control::hang_up() {
  const std::lock_guard lock(mutex_);
  gone_ = true;
  changed_.notify_all();
}

bool Control::ready() const {
  const std::lock_guard lock(mutex_);
  return ready_;
}

void Control::handle(const Channel::Message& message) {
  Unpack in(message.payload);
  if (message.kind == abort_with) {
    learn(unpack_failure(message.payload));
    return;
  }
  const std::lock_guard lock(mutex_);
  switch (message.kind) {
    case welcome: {
      // Rank 0's host knows itself as 127.0.0.1 if MASTER_ADDR is that. The others reached it at this address.
      const std::string reached_at = in.text();
      if (is_loopback(address_) && !reached_at.empty()) address_ = reached_at;
      for (int r = 0; r < ranks_.size; ++r) {
        Person person{.host = in.text()};
        person.pid = static_cast<int>(in.u32());
        person.local_rank = static_cast<int>(in.u32());
        people_.push_back(std::move(person));
      }
      ready_ = true;
      channel_.limit = kLargest;
      break;
    }
    case value: {
      const std::string key = in.text();
      values_[key] = in.text();
      break;
    }
    case gathered: {
      auto& all = gathered_.emplace_back();
      for (int r = 0; r < ranks_.size; ++r) all.push_back(in.text());
      break;
    }
    case printed: {
      for (uint32_t n = in.u32(); n > 0; --n) lines_.push_back(in.text());
      printed_ = true;
      break;
    }
    case farewell:
      farewell_ = true;
      break;
    case beat_beat:
      break;
    default:
      fail("unknown message");
  }
  changed_.notify_all();
}

void Control::learn(Failure failure) {
  std::function<void()> wake;
  {
    const std::lock_guard lock(mutex_);
    if (failure_ || farewell_ || printed_) return;
    failure_ = std::move(failure);
    failed_at_ = Clock::now();
    wake = on_failure_;
    waking_ = wake != nullptr;
    changed_.notify_all();
  }
  if (!wake) return;
  wake();
  const std::lock_guard lock(mutex_);
  waking_ = false;
  changed_.notify_all();
}

// ---- The rest of the program ----

void Control::tell(uint8_t kind, std::string_view payload) {
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) channel_.send(kind, payload);
  }
  wake_.wake();
}

template <class Ready>
void Control::wait(const char* what, Milliseconds limit, const Ready& is_ready) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, limit, [&] { return is_ready() || failure_ || gone_; });
  if (is_ready()) return;
  if (failure_) throw RankFailed(*failure_);
  hr::fail("{}: rank 0 at {}:{} did not answer within {:g} s (--dist-timeout)", what, ranks_.address, ranks_.port,
           seconds(limit));
}

void Control::put(const std::string& key, std::string_view data) {
  tell(Kind::put, Packer().text(key).text(data).str());
}

std::string Control::get(const std::string& key) {
  tell(Kind::get, Packer().text(key).str());
  wait("exchanging addresses", timeout_, [&] { return values_.contains(key); });
  const std::lock_guard lock(mutex_);
  return values_.extract(key).mapped();
}

std::vector<std::string> Control::all_gather(std::string_view mine) {
  tell(Kind::gather, mine);
  wait("waiting for the other ranks", (kPatience + 1) * timeout_, [&] { return !gathered_.empty(); });
  const std::lock_guard lock(mutex_);
  std::vector<std::string> all = std::move(gathered_.front());
  gathered_.pop_front();
  return all;
}

void Control::begin_collective(int channel) {
  const std::lock_guard lock(mutex_);
  Progress& p = progress_[channel];
  ++p.entered;
  p.inside = true;
  p.since = Clock::now();
}

void Control::end_collective(int channel) {
  const std::lock_guard lock(mutex_);
  progress_[channel].inside = false;
}

void Control::Busy::set(bool on) const {
  if (control_ == nullptr) return;
  const std::lock_guard lock(control_->mutex_);
  control_->busy_ += on ? 1 : -1;
}

std::optional<Failure> Control::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void Control::check() const {
  const std::lock_guard lock(mutex_);
  if (failure_) throw RankFailed(*failure_);
}

std::optional<Failure> Control::await_failure(Milliseconds limit) const {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, limit, [&] { return failure_.has_value(); });
  return failure_;
}

void Control::on_failure(std::function<void()> wake) {
  std::unique_lock lock(mutex_);
  // The engine whose function is being replaced may be about to be destroyed.
  changed_.wait(lock, [&] { return !waking_; });
  on_failure_ = std::move(wake);
  if (!failure_ || !on_failure_) return;
  const std::function<void()> late = on_failure_;
  lock.unlock();
  late();
}

void Control::set_last_resort(std::function<void(const Settlement&)> last_resort) {
  const std::lock_guard lock(mutex_);
  last_resort_ = std::move(last_resort);
}

bool Control::speaks_for_host(int lost) const {
  if (people_.empty()) return ranks_.local_rank == 0;
  for (int r = 0; r < ranks_.size; ++r) {
    if (r != lost && people_[r].host == people_[ranks_.rank].host) return r == ranks_.rank;
  }
  return false;
}

Control::Settlement Control::settle(const std::optional<Failure>& own) {
  {
    std::unique_lock lock(mutex_);
    settling_ = true;
    // The last resort ends the process. Two settlements at the same time would print twice and close the connection
    // while the other one uses it.
    changed_.wait(lock, [&] { return !resorting_; });
  }
  return settled(own);
}

Control::Settlement Control::settled(const std::optional<Failure>& own) {
  tell(Kind::fail_with, pack(own.value_or(Failure{})));
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPrintedWithin, [&] { return printed_ || gone_; });
  const Failure first = failure_ ? *failure_ : own.value_or(Failure{});
  Settlement s{.status = own ? own->status : first.status};
  if (printed_) {
    s.lines = lines_;
  } else if (own && !own->what.empty()) {
    // Ranks of one host that have not met yet fail for the same reason, so only the first of them prints it.
    if (!people_.empty() || ranks_.local_rank == 0) s.lines = {own->what};
  } else if (speaks_for_host(first.lost ? first.rank : -1)) {
    s.lines = {first.what};
  }
  return s;
}

void Control::leave() {
  tell(Kind::bye, {});
  wait("leaving", (kPatience + 1) * timeout_, [&] { return farewell_; });
}

}  // namespace hr
