#include "tools/launch/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <set>

#include "core/comm/control.h"
#include "core/comm/socket.h"
#include "core/error.h"

namespace hr {
namespace {

constexpr std::array kPassedOn{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

// Tells one checkpoint file from another one at the same path.
struct FileIdentity {
  ino_t inode = 0;
  int64_t changed_ns = 0;
  bool operator==(const FileIdentity&) const = default;
};
std::optional<FileIdentity> identity(const fs::path& path) {
  struct stat info {};
  if (path.empty() || ::stat(path.c_str(), &info) != 0) return {};
  return FileIdentity{info.st_ino, info.st_mtim.tv_sec * int64_t{1000000000} + info.st_mtim.tv_nsec};
}

std::string random_name() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}", device(), device());
}

// Receives signals through a file descriptor, so that poll() can wait for them. The destructor restores the normal
// handling.
class SignalQueue {
 public:
  SignalQueue() {
    ::sigemptyset(&set_);
    for (const int s : kPassedOn) ::sigaddset(&set_, s);
    for (const int s : {SIGCHLD, SIGTSTP, SIGCONT}) ::sigaddset(&set_, s);
    ::sigprocmask(SIG_BLOCK, &set_, &before_);
    fd_ = Descriptor(::signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
    check(fd_.open(), "--nproc: no signalfd: {}", std::strerror(errno));
  }
  ~SignalQueue() {
    fd_.reset();
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;
  int fd() const { return fd_.get(); }
  const sigset_t& before() const { return before_; }
  int next() const {
    signalfd_siginfo info{};
    return ::read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
  }

 private:
  sigset_t set_{}, before_{};
  Descriptor fd_;
};

struct Child {
  pid_t pid = 0;
  Descriptor errors;  // read end of its stderr, for ranks other than 0
  std::string line;   // the beginning of a line that is not complete yet
  bool alive = false;
};

class Launcher {
 public:
  Launcher(const std::string& program, const LaunchOptions& o)
      : program_(program),
        o_(o),
        checkpoint_before_(identity(o.checkpoint)),
        gpus_(o.devices.empty() ? "" : visible_devices(o.devices, std::getenv("CUDA_VISIBLE_DEVICES"))),
        command_(read_file("/proc/self/cmdline")) {
    for (size_t at = 0; at < command_.size(); at = command_.find('\0', at) + 1) argv_.push_back(command_.data() + at);
    argv_.push_back(nullptr);
  }

  int run() {
    for (int attempt = 0;; ++attempt) {
      const int status = run_once(attempt);
      // Status 2 means bad input and 70 a bug of the program; both would come again after a restart.
      const bool hopeless = status == 0 || status == 2 || status == 70 || told_to_stop_;
      if (hopeless || attempt >= o_.max_restarts) {
        if (silent_end_) say(why_);  // no rank could report the error itself
        return status;
      }
      const bool resume = fresh_checkpoint();
      say(fmt::format(
          "{}; starting all ranks again ({} of {}), {}", why_, attempt + 1, o_.max_restarts,
          resume ? "from " + o_.checkpoint.string() : "from the beginning, because there is no checkpoint yet"));
    }
  }

 private:
  void say(const std::string& text) const { fmt::print(stderr, "{}: {}\n", program_, text); }

  bool fresh_checkpoint() const {
    const auto now = identity(o_.checkpoint);
    return now && now != checkpoint_before_;
  }

  int run_once(int attempt) {
    children_.clear();
    children_.resize(o_.ranks);
    status_ = 0;
    why_.clear();
    const Descriptor listener = listen_on(0, true);
    const std::string run = random_name();
    for (int r = 0; r < o_.ranks; ++r) start(r, attempt, listener, run);
    std::optional<Clock::time_point> kill_at;
    while (any_alive()) {
      wait(kill_at);
      if (status_ != 0 && !kill_at) {
        // The ranks hear of a failure from each other. A rank that does not end by itself, for example because it is
        // stopped, is killed.
        const auto patience = Milliseconds(2000 + static_cast<int64_t>(200 * o_.dist_timeout));
        kill_at = Clock::now() + patience;
      }
      if (kill_at && Clock::now() > *kill_at) {
        for (const Child& c : children_) {
          if (c.alive) ::kill(c.pid, SIGKILL);
        }
      }
    }
    for (Child& c : children_) forward_errors(c);
    return status_;
  }

  void start(int rank, int attempt, const Descriptor& listener, const std::string& run) {
    std::array<int, 2> errors{-1, -1};
    if (rank != 0) check(::pipe2(errors.data(), O_CLOEXEC) == 0, "--nproc: no pipe: {}", std::strerror(errno));
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    check(pid >= 0, "--nproc {}: cannot start rank {}: {}", o_.ranks, rank, std::strerror(errno));
    if (pid == 0) become(rank, attempt, listener, run, errors[1], parent);
    ::setpgid(pid, pid);  // Ctrl-C reaches only this process, which passes it on once
    children_[rank].pid = pid;
    children_[rank].alive = true;
    if (rank != 0) {
      children_[rank].errors = Descriptor(errors[0]);
      ::fcntl(errors[0], F_SETFL, O_NONBLOCK);
      ::close(errors[1]);
    }
  }

  [[noreturn]] void become(int rank, int attempt, const Descriptor& listener, const std::string& run, int errors,
                           pid_t parent) const {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(kExitRankLost);
    ::sigprocmask(SIG_SETMASK, &signals_.before(), nullptr);
    const auto set = [](const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); };
    set("RANK", std::to_string(rank));
    set("WORLD_SIZE", std::to_string(o_.ranks));
    set("LOCAL_RANK", std::to_string(rank));
    set("LOCAL_WORLD_SIZE", std::to_string(o_.ranks));
    set("MASTER_ADDR", "127.0.0.1");
    set("MASTER_PORT", std::to_string(port_of(listener)));
    set("HR_RUN", run);
    set("HR_RESTARTS", std::to_string(attempt));
    if (attempt > 0 && fresh_checkpoint()) set("HR_RESUME", o_.checkpoint.string());
    if (rank == 0) {
      ::fcntl(listener.get(), F_SETFD, 0);  // keeps it open across exec
      set("HR_LISTEN_FD", std::to_string(listener.get()));
    } else {
      const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
      ::dup2(nothing, STDIN_FILENO);
      ::dup2(errors, STDERR_FILENO);
    }
    if (!gpus_.empty()) set("CUDA_VISIBLE_DEVICES", gpus_);
    if (o_.divide_cpus) take_cpus(rank);
    ::execv("/proc/self/exe", argv_.data());
    fmt::print(stderr, "{}: cannot start rank {}: {}\n", program_, rank, std::strerror(errno));
    ::_exit(2);
  }

  // Gives each rank its own processors, so that the ranks do not disturb each other. If there are fewer processors than
  // ranks, each rank gets one thread.
  void take_cpus(int rank) const {
    cpu_set_t all;
    if (::sched_getaffinity(0, sizeof all, &all) != 0) return;
    const int count = CPU_COUNT(&all), from = rank * count / o_.ranks, to = (rank + 1) * count / o_.ranks;
    if (count < o_.ranks) {
      ::setenv("OMP_NUM_THREADS", "1", 0);
      return;
    }
    cpu_set_t mine;
    CPU_ZERO(&mine);
    for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &all)) continue;
      if (seen >= from && seen < to) CPU_SET(cpu, &mine);
      ++seen;
    }
    ::sched_setaffinity(0, sizeof mine, &mine);
  }

  bool any_alive() const {
    for (const Child& c : children_) {
      if (c.alive) return true;
    }
    return false;
  }

  void wait(const std::optional<Clock::time_point>& kill_at) {
    std::vector<pollfd> polled{{signals_.fd(), POLLIN, 0}};
    for (const Child& c : children_) {
      if (c.errors.open()) polled.push_back({c.errors.get(), POLLIN, 0});
    }
    ::poll(polled.data(), polled.size(), kill_at ? 100 : -1);
    for (Child& c : children_) forward_errors(c);
    while (const int signal = signals_.next()) {
      if (signal == SIGTSTP) {
        // After Ctrl-Z the ranks are stopped before this process, so that none of them waits for a stopped rank and
        // reports it as lost.
        for (const Child& c : children_) {
          if (c.alive) ::kill(c.pid, SIGSTOP);
        }
        ::kill(::getpid(), SIGSTOP);
      } else if (signal != SIGCHLD) {
        if (signal != SIGCONT && signal != SIGUSR1 && signal != SIGUSR2) told_to_stop_ = true;
        for (const Child& c : children_) {
          if (c.alive) ::kill(c.pid, signal);
        }
      }
    }
    reap();
  }

  void reap() {
    int status = 0;
    while (const pid_t pid = ::waitpid(-1, &status, WNOHANG)) {
      if (pid < 0) return;
      for (size_t r = 0; r < children_.size(); ++r) {
        if (children_[r].pid == pid) note_end(static_cast<int>(r), status);
      }
    }
  }

  void note_end(int rank, int status) {
    children_[rank].alive = false;
    const bool killed = WIFSIGNALED(status);
    const int code = killed ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (code == 0) return;
    if (status_ == 0) {
      status_ = code;
      silent_end_ = true;
      why_ = killed ? fmt::format("rank {} (process {}) was killed by signal {} ({})", rank, children_[rank].pid,
                                  WTERMSIG(status), ::strsignal(WTERMSIG(status)))
                    : fmt::format("rank {} (process {}) ended with status {}", rank, children_[rank].pid, code);
    }
    if (!killed) silent_end_ = false;  // a rank that exits by itself has reported the error
  }

  // Prints the complete lines of a rank's stderr, with its number.
  void forward_errors(Child& c) {
    if (!c.errors.open()) return;
    std::array<char, 4096> bytes;
    ssize_t n = 0;
    while ((n = ::read(c.errors.get(), bytes.data(), bytes.size())) > 0) c.line.append(bytes.data(), n);
    const auto rank = &c - children_.data();
    for (size_t end = c.line.find('\n'); end != std::string::npos; end = c.line.find('\n')) {
      fmt::print(stderr, "[rank {}] {}\n", rank, c.line.substr(0, end));
      c.line.erase(0, end + 1);
    }
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
      if (!c.line.empty()) fmt::print(stderr, "[rank {}] {}\n", rank, c.line);
      c.errors.reset();
    }
  }

  const std::string& program_;
  const LaunchOptions& o_;
  const std::optional<FileIdentity> checkpoint_before_;
  const std::string gpus_;  // CUDA_VISIBLE_DEVICES of the ranks; empty: unchanged
  std::string command_;     // the arguments of the command line, each with its terminating zero
  std::vector<char*> argv_;
  SignalQueue signals_;
  std::vector<Child> children_;
  int status_ = 0;
  std::string why_;
  bool told_to_stop_ = false, silent_end_ = false;
};

}  // namespace

int launch(const std::string& program, const LaunchOptions& options) {
  std::fflush(nullptr);
  return Launcher(program, options).run();
}

std::string visible_devices(const std::vector<int>& devices, const char* visible) {
  if (visible == nullptr) return fmt::format("{}", fmt::join(devices, ","));
  std::vector<std::string> all;
  for (std::string_view rest = visible; !rest.empty();) {
    const std::string_view one = rest.substr(0, rest.find(','));
    if (one.starts_with('-')) break;  // CUDA ends the list at such an entry
    all.emplace_back(one);
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
  }
  std::vector<std::string> chosen;
  for (const int d : devices) {
    check(static_cast<size_t>(d) < all.size(),
          "--devices {}: there is no GPU {} under CUDA_VISIBLE_DEVICES={}, which shows {} GPU{}; --devices counts them "
          "from 0, or unset the variable to name any GPU of this host",
          fmt::join(devices, ","), d, visible, all.size(), all.size() == 1 ? "" : "s");
    chosen.push_back(all[d]);
  }
  return fmt::format("{}", fmt::join(chosen, ","));
}

std::vector<int> parse_devices(const std::string& text) {
  std::vector<int> devices;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find(','));
    int n = 0;
    const auto [end, code] = std::from_chars(part.data(), part.data() + part.size(), n);
    check(code == std::errc() && end == part.data() + part.size() && n >= 0,
          "--devices {}: expected GPU numbers like 0,3", text);
    devices.push_back(n);
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  }
  check(!devices.empty(), "--devices: expected GPU numbers like 0,3");
  check(std::set<int>(devices.begin(), devices.end()).size() == devices.size(),
        "--devices {}: a GPU is named twice; every rank needs its own", text);
  return devices;
}

}  // namespace hr
