// Environment variables that are set for a part of a test.
#pragma once
#include <cstdlib>
#include <initializer_list>
#include <utility>
#include <vector>

namespace hr::test {

// Sets environment variables while it exists, and removes them afterwards.
class Switched {
 public:
  Switched(std::initializer_list<std::pair<const char*, const char*>> values) : values_(values) {
    for (const auto& [name, value] : values_) ::setenv(name, value, 1);
  }
  ~Switched() {
    for (const auto& [name, value] : values_) ::unsetenv(name);
  }
  Switched(const Switched&) = delete;
  Switched& operator=(const Switched&) = delete;

 private:
  std::vector<std::pair<const char*, const char*>> values_;
};

}  // namespace hr::test
