#include "core/comm/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "core/error.h"

namespace hr {
namespace {

void set_nonblocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

void set_nodelay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Descriptor try_listen(int family, int port, bool loopback_only, int& reason) {
  Descriptor socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  reason = errno;
  if (!socket.open()) return {};
  const int on = 1, off = 0;
  // A restart must be able to use the port while old connections are in TIME_WAIT.
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (family == AF_INET6) {
    // The socket also accepts IPv4 connections.
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    auto* address = reinterpret_cast<sockaddr_in6*>(&storage);
    *address = {.sin6_family = AF_INET6, .sin6_port = htons(static_cast<uint16_t>(port)), .sin6_addr = in6addr_any};
    size = sizeof *address;
  } else {
    auto* address = reinterpret_cast<sockaddr_in*>(&storage);
    *address = {.sin_family = AF_INET,
                .sin_port = htons(static_cast<uint16_t>(port)),
                .sin_addr = {htonl(loopback_only ? INADDR_LOOPBACK : INADDR_ANY)}};
    size = sizeof *address;
  }
  const bool ready =
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&storage), size) == 0 && ::listen(socket.get(), 1024) == 0;
  reason = errno;
  if (!ready) return {};
  set_nonblocking(socket.get());
  return socket;
}

std::string text_of(const sockaddr_storage& storage) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (storage.ss_family == AF_INET6) {
    const auto* address = reinterpret_cast<const sockaddr_in6*>(&storage);
    if (IN6_IS_ADDR_V4MAPPED(&address->sin6_addr)) {
      ::inet_ntop(AF_INET, address->sin6_addr.s6_addr + 12, text.data(), text.size());
    } else {
      ::inet_ntop(AF_INET6, &address->sin6_addr, text.data(), text.size());
    }
  } else {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr, text.data(), text.size());
  }
  return text.data();
}

// Makes one attempt with one address.
Descriptor try_connect(const addrinfo& to, Clock::time_point deadline, int& reason) {
  Descriptor socket(::socket(to.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  reason = errno;
  if (!socket.open()) return {};
  set_nonblocking(socket.get());
  if (::connect(socket.get(), to.ai_addr, to.ai_addrlen) != 0) {
    reason = errno;
    if (reason != EINPROGRESS) return {};
    // A host that does not answer may still be booting. One attempt must not use up the time of all later ones.
    const auto left = std::chrono::duration_cast<Milliseconds>(deadline - Clock::now());
    pollfd waiting{socket.get(), POLLOUT, 0};
    reason = ETIMEDOUT;
    if (::poll(&waiting, 1, static_cast<int>(std::clamp<int64_t>(left.count(), 1, 5000))) <= 0) return {};
    socklen_t size = sizeof reason;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &reason, &size);
    if (reason != 0) return {};
  }
  set_nodelay(socket.get());
  return socket;
}

}  // namespace

void Descriptor::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Descriptor listen_on(int port, bool loopback_only, const std::string& name) {
  int reason = 0;
  Descriptor socket;
  if (!loopback_only) socket = try_listen(AF_INET6, port, false, reason);
  if (!socket.open() && reason != EADDRINUSE) socket = try_listen(AF_INET, port, loopback_only, reason);
  check(socket.open(), "{}: cannot listen on this port: {}; choose a free one",
        name.empty() ? fmt::format("port {}", port) : name, std::strerror(reason));
  return socket;
}

int port_of(const Descriptor& listener) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
  return ntohs(storage.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&storage)->sin_port);
}

Descriptor connect_to(const std::string& host, int port, Clock::time_point deadline, const std::string& name) {
  const auto started = Clock::now();
  std::string reason = "no answer";
  for (auto pause = Milliseconds(10);; pause = std::min(pause * 2, Milliseconds(500))) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    // Tried again, because on a cluster the names of hosts appear when the hosts do.
    if (code != 0) reason = ::gai_strerror(code);
    for (const addrinfo* to = found; to != nullptr; to = to->ai_next) {
      int number = 0;
      Descriptor socket = try_connect(*to, deadline, number);
      if (socket.open()) {
        ::freeaddrinfo(found);
        return socket;
      }
      reason = std::strerror(number);
    }
    if (found != nullptr) ::freeaddrinfo(found);
    if (Clock::now() + pause >= deadline) break;
    std::this_thread::sleep_for(pause);
  }
  fail("cannot reach rank 0 at {}:{}{} within {:.0f} s: {}", host, port, name.empty() ? "" : fmt::format(" ({})", name),
       std::chrono::duration<double>(deadline - started).count(), reason);
}

Descriptor accept_from(const Descriptor& listener) {
  Descriptor socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket.open()) set_nodelay(socket.get());
  return socket;
}

std::string local_address(const Descriptor& socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) return "";
  return text_of(storage);
}

bool is_loopback(std::string_view address) { return address.starts_with("127.") || address == "::1"; }

WakePipe::WakePipe() {
  std::array<int, 2> ends{};
  check(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0, "cannot make a pipe: {}", std::strerror(errno));
  read_ = Descriptor(ends[0]);
  write_ = Descriptor(ends[1]);
}

void WakePipe::wake() const {
  const char byte = 0;
  if (::write(write_.get(), &byte, 1) < 0) return;  // The pipe is full, so the reader will wake up anyway.
}

void WakePipe::drain() const {
  std::array<char, 256> bytes{};
  while (::read(read_.get(), bytes.data(), bytes.size()) > 0) continue;
}

void Channel::send(uint8_t kind, std::string_view payload) {
  if (!socket_.open()) return;
  const auto length = static_cast<uint32_t>(payload.size() + 1);
  out_.append(reinterpret_cast<const char*>(&length), sizeof length);
  out_.push_back(static_cast<char>(kind));
  out_.append(payload);
}

bool Channel::flush() {
  size_t done = 0;
  while (done < out_.size()) {
    const ssize_t n = ::send(socket_.get(), out_.data() + done, out_.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (n < 0) return false;
    done += static_cast<size_t>(n);
  }
  out_.erase(0, done);
  return true;
}

void Channel::end_sending() {
  if (socket_.open()) ::shutdown(socket_.get(), SHUT_WR);
}

bool Channel::fill() {
  std::array<char, 1 << 16> bytes;
  for (int part = 0; part < 16; ++part) {  // Stops here so that other connections get their turn.
    const ssize_t n = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    if (n == 0) return false;
    in_.append(bytes.data(), static_cast<size_t>(n));
    received_ += static_cast<size_t>(n);
  }
  return true;
}

bool Channel::next(Message& out) {
  uint32_t length = 0;
  if (in_.size() < sizeof length) return false;
  std::memcpy(&length, in_.data(), sizeof length);
  check(length >= 1 && length <= limit, "a message of {} bytes where at most {} are expected", length, limit);
  if (in_.size() < sizeof length + length) return false;
  out.kind = static_cast<uint8_t>(in_[sizeof length]);
  out.payload = in_.substr(sizeof length + 1, length - 1);
  in_.erase(0, sizeof length + length);
  return true;
}

std::string_view Unpack::take(size_t size) {
  check(size <= in_.size(), "a message that ends too early");
  const std::string_view part = in_.substr(0, size);
  in_.remove_prefix(size);
  return part;
}

}  // namespace hr
