// Runs a piece of work in a process of its own, with little memory, without files to write or processes to start, and
// reports how it ended.
#pragma once
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <functional>
#include <new>
#include <string>

// Sanitizers keep shadow memory and freed memory, so with them the resident memory says nothing about the program.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HR_SHADOWED_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HR_SHADOWED_MEMORY 1
#endif
#endif

namespace hr::test {

struct ChildResult {
  std::string said;     // the text that the work returned or threw
  bool threw = false;   // it threw another exception than bad_alloc
  bool exited = false;  // it ended normally: not by a signal and not with bad_alloc
  double seconds = 0;   // of processor time inside the work
  int64_t grown = 0;    // bytes by which the resident memory rose above its start
};

// Returns a line of /proc/self/status, in bytes.
inline int64_t memory_status(const char* name) {
  std::FILE* file = std::fopen("/proc/self/status", "r");
  if (file == nullptr) return 0;
  char line[256];
  long long kib = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, name, std::strlen(name)) == 0) std::sscanf(line + std::strlen(name), ": %lld", &kib);
  }
  std::fclose(file);
  return kib * 1024;
}

// `bytes` is the address space that the work may use beyond that of the process (it is not limited with a sanitizer,
// which reserves terabytes). The work cannot write files.
inline ChildResult in_child([[maybe_unused]] int64_t bytes, const std::function<std::string()>& work) {
  int ends[2];
  if (::pipe(ends) != 0) return {};
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    const auto limit = [](auto resource, int64_t value) {
      const rlimit both{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
      ::setrlimit(resource, &both);
    };
    limit(RLIMIT_FSIZE, 0);
    std::signal(SIGXFSZ, SIG_IGN);  // Writing fails instead.
    limit(RLIMIT_CORE, 0);
#ifndef HR_SHADOWED_MEMORY
    limit(RLIMIT_AS, memory_status("VmSize") + bytes);
#endif
    const int64_t before = memory_status("VmRSS");
    ChildResult r{.exited = true};
    const std::clock_t start = std::clock();
    try {
      r.said = work();
    } catch (const std::bad_alloc&) {
      r.exited = false;
      r.said = "out of memory";
    } catch (const std::exception& e) {
      r.threw = true;
      r.said = e.what();
    }
    r.seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    r.grown = memory_status("VmHWM") - before;
    char head[128];
    const int n = std::snprintf(head, sizeof head, "%d %d %.6f %lld\n", r.exited, r.threw, r.seconds,
                                static_cast<long long>(r.grown));
    const std::string all = std::string(head, static_cast<size_t>(n)) + r.said;
    ssize_t written = ::write(ends[1], all.data(), all.size());
    ::_exit(written == static_cast<ssize_t>(all.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string all;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  ChildResult r;
  int exited = 0, threw = 0, used = 0;
  long long grown = 0;
  if (std::sscanf(all.c_str(), "%d %d %lf %lld\n%n", &exited, &threw, &r.seconds, &grown, &used) == 4) {
    r.exited = exited != 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    r.threw = threw != 0;
    r.grown = grown;
    r.said = all.substr(static_cast<size_t>(used));
  }
  if (WIFSIGNALED(status)) r.said = "signal " + std::to_string(WTERMSIG(status));
  return r;
}

}  // namespace hr::test
