// A web server on the loopback interface that gives out one file, so that tests read streams without a network.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace hr::test {

class HttpServer {
 public:
  enum class Kind {
    ranges,   // Gives any part of the file, as most servers do.
    whole,    // Knows no parts: python3 -m http.server.
    breaks,   // Closes the connection after half of the file.
    silent,   // Sends half of the file and nothing more.
    missing,  // Answers 404.
  };

  HttpServer(std::string file, Kind kind) : file_(std::move(file)), kind_(kind) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* address = reinterpret_cast<sockaddr*>(&at);
    if (::bind(listener_, address, size) != 0 || ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, address, &size) != 0) {
      throw std::system_error(errno, std::generic_category(), "the test's HTTP server cannot listen");
    }
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HttpServer() {
    ends_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string address(const std::string& name) const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/" + name;
  }

 private:
  static bool send_all(int to, const std::string& bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t n = ::send(to, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (n <= 0) return false;
      at += static_cast<size_t>(n);
    }
    return true;
  }

  // Each connection has one request and a thread of its own, since a reader opens the next one before it closes the
  // last.
  void serve() {
    std::vector<std::thread> threads;
    for (;;) {
      const int connection = ::accept(listener_, nullptr, nullptr);
      if (connection < 0 || ends_) break;
      {
        const std::lock_guard lock(mutex_);
        connections_.push_back(connection);
      }
      threads.emplace_back([this, connection] {
        std::string request;
        std::array<char, 4096> part{};
        while (request.find("\r\n\r\n") == std::string::npos) {
          const ssize_t n = ::recv(connection, part.data(), part.size(), 0);
          if (n <= 0) break;
          request.append(part.data(), static_cast<size_t>(n));
        }
        answer(connection, request);
        ::shutdown(connection, SHUT_RDWR);
      });
    }
    {
      const std::lock_guard lock(mutex_);
      for (const int connection : connections_) ::shutdown(connection, SHUT_RDWR);
    }
    for (std::thread& thread : threads) thread.join();
    for (const int connection : connections_) ::close(connection);
  }

  void answer(int to, const std::string& request) {
    if (kind_ == Kind::missing) {
      send_all(to, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return;
    }
    size_t from = 0;
    const size_t range = request.find("Range: bytes=");
    if (kind_ == Kind::ranges && range != std::string::npos) from = std::stoull(request.substr(range + 13));
    const std::string size = std::to_string(file_.size());
    std::string head = "HTTP/1.1 200 OK\r\n";
    if (kind_ == Kind::ranges) {
      head = "HTTP/1.1 206 Partial Content\r\nAccept-Ranges: bytes\r\nContent-Range: bytes " + std::to_string(from) +
             "-" + std::to_string(file_.size() - 1) + "/" + size + "\r\n";
    }
    head += "Content-Length: " + std::to_string(file_.size() - from) + "\r\nConnection: close\r\n\r\n";
    const bool half = kind_ == Kind::breaks || kind_ == Kind::silent;
    if (!send_all(to, head + file_.substr(from, half ? file_.size() / 2 : std::string::npos))) return;
    std::array<char, 64> rest{};
    while (kind_ == Kind::silent && ::recv(to, rest.data(), rest.size(), 0) > 0) {
    }
  }

  const std::string file_;
  const Kind kind_;
  int listener_ = -1, port_ = 0;
  std::mutex mutex_;
  std::vector<int> connections_;  // Guarded by the mutex.
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

}  // namespace hr::test
