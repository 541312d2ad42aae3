// The one error type. A message says where (file, op, setting), both sides of the mismatch, and a next step:
//   stage3.1.fuse_layers.0.2: expected 32 channels, got 64; is the checkpoint W48?
// A message names a setting by its field in the options' struct, in backticks: "`batch_size` 0: expected at least 1".
// The library knows no command line. Programs put their flags in place of these names, print the message as one line
// on stderr and end with exit status 2 (tools/cli/flag_names.h, tools/cli/cli.h).
#pragma once
#include <fmt/format.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace hr {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
  // A setting that cannot be used. what() is "`field` why", so `why` usually begins with the value: "0: expected ...".
  Error(const std::string& field, const std::string& why)
      : std::runtime_error(fmt::format("`{}` {}", field, why)), field_(std::make_shared<const std::string>(field)) {}

  // The name of the setting that is to be changed, as it stands in the options' struct ("batch_size"); empty when the
  // error is about something else.
  std::string field() const { return field_ == nullptr ? std::string() : *field_; }

 private:
  std::shared_ptr<const std::string> field_;  // shared, so that copying an exception cannot throw
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

// The same two for a setting: Error{field, formatted message}.
template <class... Args>
[[noreturn]] void fail_field(const char* field, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(field, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void check_field(bool condition, const char* field, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw Error(field, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace hr
