#include "tools/cli/orderly_end.h"

#include <csignal>

namespace hr {
namespace {

StopRequest request;

void on_interrupt(int signal) {
  request.request(signal);
  std::signal(signal, SIG_DFL);
}

}  // namespace

OrderlyEnd::OrderlyEnd() {
  request.clear();
  before_interrupt_ = std::signal(SIGINT, on_interrupt);
  before_terminate_ = std::signal(SIGTERM, on_interrupt);
}

void OrderlyEnd::restore() {
  std::signal(SIGINT, before_interrupt_);
  std::signal(SIGTERM, before_terminate_);
}

StopRequest& OrderlyEnd::stop() { return request; }

}  // namespace hr
