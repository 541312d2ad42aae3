// Turns Ctrl-C into a request to stop, so that the program finishes its current work and saves it instead of dying.
#pragma once
#include "hrnet/train/stop.h"

namespace hr {

// From the construction until restore(), the first Ctrl-C (or SIGTERM) requests an orderly end, and the second one
// terminates the program at once. Signal handlers belong to the process, so only one object may be active at a time.
class OrderlyEnd {
 public:
  OrderlyEnd();
  // Restores the signal handlers that were installed before.
  void restore();
  // Returns the request that the signals set. The process has one, and it is thread-safe.
  static StopRequest& stop();

 private:
  void (*before_interrupt_)(int);
  void (*before_terminate_)(int);
};

}  // namespace hr
