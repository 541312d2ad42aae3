#include "core/comm/control_server.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <set>

#include "core/parallel.h"

namespace hr {

using namespace control;  // The messages of this connection, which have short names.

Control::Server::Server(const Ranks& ranks, Milliseconds timeout, Milliseconds beat, Milliseconds quiet_limit)
    : ranks_(ranks), timeout_(timeout), beat_(beat), quiet_limit_(quiet_limit), absence_(beat) {
  listener_ = ranks.listen_fd >= 0 ? Descriptor(ranks.listen_fd) : listen_on(ranks.port, false, ranks.port_name);
  ::fcntl(listener_.get(), F_SETFD, FD_CLOEXEC);  // Child processes must not inherit the listening socket.
  by_rank_.resize(ranks.size, nullptr);
  thread_ = std::thread([this] { run(); });
}

Control::Server::~Server() {
  stop_ = true;
  wake_.wake();
  thread_.join();
}

void Control::Server::run() {
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

bool Control::Server::finished() const {
  if (stop_ && (phase_ == Phase::joining || phase_ == Phase::running)) return true;
  if (phase_ != Phase::ending) return false;
  return peers_.empty() || Clock::now() > deadline_;
}

void Control::Server::wait() {
  std::vector<pollfd> polled{{wake_.fd(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
  for (const auto& peer : peers_) {
    polled.push_back({peer->channel.fd(), static_cast<short>(POLLIN | (peer->channel.pending() ? POLLOUT : 0)), 0});
  }
  const auto pause = phase_ == Phase::running ? beat_ : std::min(beat_, Milliseconds(50));
  ::poll(polled.data(), polled.size(), static_cast<int>(pause.count()));
  wake_.drain();
}

void Control::Server::listen() {
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

void Control::Server::receive(Peer& peer) {
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
void Control::Server::hear_out(Peer& peer) {
  for (bool more = true; more && peer.channel.open();) {
    const size_t had = peer.channel.received();
    receive(peer);
    more = peer.channel.open() && peer.channel.received() > had;
  }
}

void Control::Server::drop(Peer& peer) {
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

void Control::Server::greet(Peer& peer, const Channel::Message& message) {
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
    reason = fmt::format("two processes have RANK={}: process {} on host {} and process {} on host {}", rank, other.pid,
                         other.host, peer.person.pid, peer.person.host);
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

void Control::Server::turn_away(Peer& peer, const Failure& failure) {
  peer.channel.send(abort_with, pack(failure));
  peer.closing = true;
  peer.turned_away = Clock::now();
}

// A peer that was turned away must close the connection first. If this side closed it while messages are unread, the
// system could discard what this side has sent.
bool Control::Server::leaves(const Peer& peer) {
  return peer.closing && !peer.channel.pending() &&
         (!peer.turned_away || Clock::now() - *peer.turned_away > kHangsUpWithin);
}

void Control::Server::begin() {
  phase_ = Phase::running;
  Packer all;
  all.text(reached_at_);
  for (const Peer* peer : by_rank_) {
    all.text(peer->person.host).u32(static_cast<uint32_t>(peer->person.pid));
    all.u32(static_cast<uint32_t>(peer->person.local_rank));
  }
  for (Peer* peer : by_rank_) peer->channel.send(welcome, all.str());
}

void Control::Server::handle(Peer& peer, const Channel::Message& message) {
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

void Control::Server::answer(Peer& peer, const std::string& key, const std::string& what) {
  peer.channel.send(value, Packer().text(key).text(what).str());
}

void Control::Server::answer(Peer& peer, const std::string& key) {
  if (std::find(by_rank_.begin(), by_rank_.end(), &peer) != by_rank_.end()) answer(peer, key, store_[key]);
}

int64_t Control::Server::gather_waiting() const {
  return std::count_if(by_rank_.begin(), by_rank_.end(), [](const Peer* p) { return p && !p->gathers.empty(); });
}

void Control::Server::give_gathered() {
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

void Control::Server::say_farewell() {
  if (phase_ != Phase::running || byes_ < ranks_.size) return;
  for (const auto& peer : peers_) peer->channel.send(farewell, {});
  end(Milliseconds(1000));
}

void Control::Server::end(Milliseconds patience) {
  phase_ = Phase::ending;
  deadline_ = Clock::now() + patience;
}

// The first failure is reported to all others at once. Then, for a short time, their own reports are collected.
void Control::Server::abort(Failure failure) {
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

void Control::Server::judge() {
  const auto now = absence_.last();
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
           .what =
               fmt::format("of {} ranks, {} did not come to {}:{} within {:g} s (`dist_timeout`): {}", ranks_.size,
                           missing.size(), ranks_.address, ranks_.port, seconds(timeout_), fmt::join(missing, ", "))});
    return;
  }
  if (phase_ != Phase::running) return;
  for (const auto& peer : peers_) {
    if (peer->rank < 0 && now - peer->heard > timeout_) drop(*peer);
    if (peer->rank >= 0 && now - peer->heard > quiet_limit_) {
      abort({.rank = peer->rank,
             .status = kExitRankLost,
             .lost = true,
             .what = fmt::format("{} has been silent for {:.1f} s: stopped, or cut off from the network", peer->name(),
                                 seconds(since(peer->heard)))});
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
void Control::Server::judge_progress(int c) {
  const Peer *waiter = nullptr, *late = nullptr;
  bool busy = false;
  for (const Peer* peer : by_rank_) {
    if (peer == nullptr) continue;
    if (peer->waited[c] > timeout_ && (waiter == nullptr || peer->entered[c] > waiter->entered[c])) waiter = peer;
    if (late == nullptr || peer->entered[c] < late->entered[c]) late = peer;
    // A rank that waits in a gather or in this collective does nothing long, even if it has said that it is busy.
    busy = busy || (peer->busy && peer->gathers.empty() && peer->waited[c] == Milliseconds(0));
  }
  if (waiter == nullptr) return;
  if (busy && waiter->waited[c] <= kPatience * timeout_) return;
  if (late->entered[c] < waiter->entered[c]) {
    abort({.rank = late->rank,
           .status = kExitRankLost,
           .lost = true,
           .what = fmt::format("{} is alive but has kept {} waiting for {:.1f} s: stuck", late->name(), waiter->name(),
                               seconds(waiter->waited[c]))});
  } else {
    abort({.rank = -1,
           .status = kExitRankLost,
           .lost = true,
           .what = fmt::format("all ranks are alive, but what they exchange has not arrived for {:.1f} s: the network "
                               "between two of them is broken ({} waits)",
                               seconds(waiter->waited[c]), waiter->name())});
  }
}

// Rank 0 prints each different message once. A message that only one rank reported begins with the name of that rank.
void Control::Server::hand_over() {
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

}  // namespace hr
