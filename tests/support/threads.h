// A number of compute threads for a part of a test.
#pragma once
#include "core/parallel.h"

namespace hr::test {

// Sets the number of compute threads while it exists.
class Threads {
 public:
  explicit Threads(int n) : before_(compute_threads()) { set_compute_threads(n); }
  ~Threads() { set_compute_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace hr::test
