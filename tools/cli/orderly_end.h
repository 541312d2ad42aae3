// Ctrl-C as a wish: the program ends its work in an orderly way instead of dying.
#pragma once
#include "hrnet/train/stop.h"

namespace hr {

// While it lives, the first Ctrl-C (or SIGTERM) asks for an orderly end; the second one ends the program at once.
class OrderlyEnd {
 public:
  OrderlyEnd();
  // The signals do again what they did before.
  void restore();
  // What the signals ask. There is one for the process.
  static StopRequest& stop();

 private:
  void (*before_interrupt_)(int);
  void (*before_terminate_)(int);
};

}  // namespace hr
