// Starts programs as a user does. HR_PROGRAMS is the folder that contains them.
#pragma once
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace hr::test {

struct Ended {
  int status = -1;     // 128 + n for signal n
  std::string output;  // stdout and stderr
};

// Runs a command line of the shell.
inline Ended run(const std::string& command) {
  Ended ended;
  std::FILE* pipe = ::popen((std::string("cd / && ") + command + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) ended.output += buffer.data();
  const int status = ::pclose(pipe);
  ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ended;
}

inline std::string program(const std::string& name) { return std::string(HR_PROGRAMS) + "/" + name; }

}  // namespace hr::test
