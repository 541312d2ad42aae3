// The parts that every main() shares: options, --help and the reporting of errors.
//
//   struct Options { std::string output; int people = 3; };
//   int main(int argc, char** argv) {
//     return hr::run_program<Options>("crowd", argc, argv, [](CLI::App& app, Options& o) {
//       hr::describe(app, "Draws a crowd.", "crowd --output crowd.png --people 7");
//       app.add_option("--output", o.output, "picture to write")->required()->type_name("FILE");
//       app.add_option("--people", o.people, "how many people stand in it");
//     }, [](const Options& o) { draw_crowd(o); });
//   }
//
// The exit status is 0 after success and after --help, or whatever an `int` body returns. It is 2 for everything that
// the caller can fix (hr::Error, a wrong option, no memory, a full disk) and 70 for a bug of the program. An error is
// one line on stderr: `crowd: error: why`.
#pragma once
#include <CLI/CLI.hpp>

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace hr {

constexpr int kExitUsage = 2;      // the caller can fix it
constexpr int kExitInternal = 70;  // EX_SOFTWARE of sysexits.h: a bug of the program

namespace detail {
int run_program(std::string_view name, int argc, const char* const* argv,
                const std::function<void(CLI::App&)>& add_options, const std::function<int()>& body);
}

// add_options(CLI::App&, Options&) binds the options. body(const Options&) does the work and returns void or the exit
// status. Both may be plain functions, so that they can be defined in a library: run_program<T>("train", argc, argv,
// add_options, train).
template <class Options, class AddOptions, class Body>
int run_program(std::string_view name, int argc, const char* const* argv, AddOptions&& add_options, Body&& body) {
  Options options;
  return detail::run_program(
      name, argc, argv, [&](CLI::App& app) { add_options(app, options); },
      [&]() -> int {
        if constexpr (std::is_void_v<std::invoke_result_t<Body, const Options&>>) {
          body(std::as_const(options));
          return 0;
        } else {
          return body(std::as_const(options));
        }
      });
}

// Sets the first lines of --help and the `Example:` at its end. An example of several lines is indented as a block.
void describe(CLI::App& app, std::string_view what, std::string_view example);

// These options are shared by several programs, so that their wording and checks are the same everywhere. The default
// that is shown is the value of the variable.
CLI::Option* add_fixed_size(CLI::App& app, std::array<int, 2>& height_width);  // --fixed-size H W, multiples of 32
CLI::Option* add_fixed_size(CLI::App& app, std::optional<std::array<int, 2>>& height_width);  // --resize-hw too
CLI::Option* add_device(CLI::App& app, std::string& device);  // --device cpu | cuda | cuda:N
CLI::Option* add_seed(CLI::App& app, uint64_t& seed);         // --seed N
CLI::Option* add_threads(CLI::App& app, int& threads);        // --threads N, 0 = every core

// Prints `program: error: message` on stderr, in one line whatever the message holds.
void print_error(std::string_view program, std::string_view message, std::string_view hint = "");

// Tells whether escape sequences may go to this stream (1 stdout, 2 stderr): it is a terminal that is not `dumb`, and
// NO_COLOR is not set.
bool wants_colour(int fd);

}  // namespace hr
