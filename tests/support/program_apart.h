// Runs programs as a user does, and keeps stdout and stderr apart.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <initializer_list>
#include <string>

#include "core/file.h"
#include "tests/support/oracle.h"

namespace hr::test::apart {

struct Ended {
  int status = -1;  // 128 + n for signal n
  std::string output, errors;
};

// Runs a command line of the shell.
inline Ended run(const std::string& command) {
  Ended ended;
  const fs::path errors = test::temporary_folder() / "stderr";
  std::FILE* pipe = ::popen(("cd / && " + command + " 2>" + errors.string()).c_str(), "r");
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) ended.output += buffer.data();
  const int status = ::pclose(pipe);
  ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ended.errors = read_file(errors);
  return ended;
}

inline std::string program(const std::string& name) { return std::string(HR_PROGRAMS) + "/" + name; }

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Expects status 2, nothing on stdout, and one line on stderr that contains these words.
inline void expect_refused(const std::string& command, std::initializer_list<std::string> words) {
  const Ended e = run(command);
  EXPECT_EQ(e.status, 2) << command << "\n" << e.output << e.errors;
  EXPECT_EQ(e.output, "") << command;
  EXPECT_EQ(std::count(e.errors.begin(), e.errors.end(), '\n'), 1) << e.errors;
  EXPECT_TRUE(contains(e.errors, ": error: ")) << e.errors;
  for (const std::string& word : words) EXPECT_TRUE(contains(e.errors, word)) << word << " in: " << e.errors;
}

}  // namespace hr::test::apart
