#include "core/comm/control.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <set>

#include "core/comm/control_server.h"
#include "core/parallel.h"

namespace hr {
using namespace control;  // The messages of this connection, which have short names.

Control::Control(Ranks ranks, Milliseconds timeout) : ranks_(std::move(ranks)), timeout_(timeout) {
  hr::check_field(timeout_ >= Milliseconds(100), "dist_timeout", "{:g}: expected at least 0.1 s", seconds(timeout_));
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
      const bool ended = [&] {
        const std::lock_guard lock(mutex_);
        return gone_;
      }();
      // Judged at the time of this round, because only the next round forgives an absence after it.
      if (!ended && ready() && absence.last() - heard_ > quiet_limit()) {
        learn({.rank = 0,
               .status = kExitRankLost,
               .lost = true,
               .what = fmt::format("{} has been silent for {:.1f} s: stopped, or {} is cut off from the network",
                                   name(0), seconds(since(heard_)), host_name())});
        hang_up();
      }
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

// Writes, reads, then judges whether the connection has ended, in this order. The other side may send its last message
// and close the connection between any two of these steps. A write then fails although the message with the reason can
// still be read.
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
  hr::fail("{}: rank 0 at {}:{} did not answer within {:g} s (`dist_timeout`)", what, ranks_.address, ranks_.port,
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
