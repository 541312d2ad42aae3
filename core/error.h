// The one error type. A message says where (file, flag, op and field), both sides of the mismatch, and a next step:
//   stage3.1.fuse_layers.0.2: expected 32 channels, got 64; is the checkpoint W48?
// Programs turn it into one line on stderr and exit status 2 (tools/programs/cli.h).
#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace hr {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error unless `condition` holds. The arguments are evaluated in any case: keep them cheap.
template <class... Args>
void check(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace hr
