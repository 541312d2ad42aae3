// TCP for the control connections, which carry a few messages per second of a few hundred bytes each.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace hr {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
    }
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset();

 private:
  int fd_ = -1;
};

// Listens on every address of this host, or only on the loopback one. Port 0 takes any free port. Throws Error with the
// port, called `name` if that is not empty.
Descriptor listen_on(int port, bool loopback_only = false, const std::string& name = "");
int port_of(const Descriptor& listener);

// Connects, and tries again until the deadline, because the other side may not have started yet. Throws Error with the
// system's reason for the last failure.
Descriptor connect_to(const std::string& host, int port, Clock::time_point deadline, const std::string& name = "");

Descriptor accept_from(const Descriptor& listener);   // The result is not open if no connection is waiting.
std::string local_address(const Descriptor& socket);  // For example "10.0.0.2" or "::1".
bool is_loopback(std::string_view address);

// A pipe that wakes a thread out of poll().
class WakePipe {
 public:
  WakePipe();
  void wake() const;
  void drain() const;
  int fd() const { return read_.get(); }

 private:
  Descriptor read_, write_;
};

// Messages over a non-blocking socket: [u32 length][u8 kind][payload], little-endian.
class Channel {
 public:
  struct Message {
    uint8_t kind = 0;
    std::string payload;
  };

  Channel() = default;
  explicit Channel(Descriptor socket) : socket_(std::move(socket)) {}
  int fd() const { return socket_.get(); }
  bool open() const { return socket_.open(); }
  void close() { socket_.reset(); }
  const Descriptor& socket() const { return socket_; }

  void send(uint8_t kind, std::string_view payload);  // Queues a message; flush() writes it.
  bool flush();                                       // Returns false if the connection is gone.
  bool pending() const { return !out_.empty(); }
  void end_sending();       // Nothing more will be sent; the other side still reads everything sent before.
  bool fill();              // Reads what has arrived; returns false if the connection is gone.
  bool next(Message& out);  // Takes a complete message, if there is one. Throws Error for a length above `limit`.
  size_t received() const { return received_; }  // The number of bytes that fill() has read so far.
  size_t limit = 64 << 10;  // The longest accepted message; raised once the peer has identified itself.

 private:
  Descriptor socket_;
  std::string in_, out_;
  size_t received_ = 0;
};

// Writes numbers and strings into a payload; Unpack reads them and throws Error at its end.
class Packer {
 public:
  Packer& u32(uint32_t v) { return bytes(&v, sizeof v); }
  Packer& u64(uint64_t v) { return bytes(&v, sizeof v); }
  Packer& text(std::string_view v) {
    u32(static_cast<uint32_t>(v.size()));
    return bytes(v.data(), v.size());
  }
  const std::string& str() const { return out_; }

 private:
  Packer& bytes(const void* data, size_t size) {
    out_.append(static_cast<const char*>(data), size);
    return *this;
  }
  std::string out_;
};

class Unpack {
 public:
  explicit Unpack(std::string_view in) : in_(in) {}
  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u64() { return number<uint64_t>(); }
  std::string text() { return std::string(take(u32())); }

 private:
  template <class T>
  T number() {
    T v;
    const std::string_view bytes = take(sizeof v);
    __builtin_memcpy(&v, bytes.data(), sizeof v);
    return v;
  }
  std::string_view take(size_t size);
  std::string_view in_;
};

}  // namespace hr
