#include "tools/cli/cli.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <system_error>

#include "core/cuda.h"
#include "core/error.h"
#include "tools/cli/flag_names.h"

namespace hr {
namespace {

constexpr size_t kColumn = 32;  // column at which descriptions begin in --help
constexpr size_t kWidth = 100;  // column at which they wrap
constexpr char kKeep = '\x01';  // a space at which a line must not wrap

std::string wrap(const std::string& text, size_t width) {
  std::string out, line;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!line.empty() && line.size() + 1 + word.size() > width) {
      out += line + '\n';
      line.clear();
    }
    if (!word.empty()) line += (line.empty() ? "" : " ") + word;
    if (end < text.size() && text[end] == '\n') {
      out += line + '\n';
      line.clear();
    }
    at = end + 1;
  }
  return out + line;
}

// Uses CLI11's layout, with the default behind the description: `--lr FLOAT   step size [default: 0.001]`.
struct HelpFormatter : CLI::Formatter {
  // Writes `--flip,--no-flip` rather than CLI11's `--flip,--no-flip{false}`.
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    std::string name = CLI::Formatter::make_option_name(option, is_positional);
    for (size_t open = name.find('{'); open != std::string::npos; open = name.find('{')) {
      name.erase(open, name.find('}', open) - open + 1);
    }
    return name;
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return "";  // it is a flag
    // CLI11 appends the checks to the type, as in "N:INT in [0 - 8]". They are cut off here, because a failing check
    // reports its range itself.
    const std::string type = option->get_type_name();
    std::string out =
        " " + (option->get_option_text().empty() ? type.substr(0, type.find(':')) : option->get_option_text());
    if (option->get_expected_max() == CLI::detail::expected_max_vector_size && !out.ends_with("...")) out += "...";
    return out;
  }
  std::string make_option_desc(const CLI::Option* option) const override {
    std::string text = option->get_description();
    std::string value = option->get_default_str();
    if (value.size() > 1 && value.front() == '[' && value.back() == ']') {  // a list is shown as one types it
      value = value.substr(1, value.size() - 2);
      for (char& c : value) c = c == ',' ? ' ' : c;
    }
    if (option->get_required()) {
      text += " (required)";
    } else if (option->get_type_size() != 0 && !value.empty()) {
      std::string shown = fmt::format("[default: {}]", value);
      for (char& c : shown) c = c == ' ' && shown.size() < 50 ? kKeep : c;
      text += ' ' + shown;
    }
    text = wrap(text, kWidth - kColumn);
    std::replace(text.begin(), text.end(), kKeep, ' ');
    return text;
  }
};

}  // namespace

// Prints one line, whatever the message holds, because scripts and logs read stderr line by line.
void print_error(std::string_view name, std::string_view message, std::string_view hint) {
  std::string line;
  for (const char c : with_flags(message)) line += c == '\n' || c == '\r' ? ' ' : c;
  while (!line.empty() && line.back() == ' ') line.pop_back();
  const bool colour = wants_colour(STDERR_FILENO);
  std::fflush(stdout);  // what was printed before the error also comes first in a log
  fmt::print(stderr, "{}: {}error{}: {}{}\n", name, colour ? "\x1b[1;31m" : "", colour ? "\x1b[0m" : "", line, hint);
  std::fflush(stderr);
}

bool wants_colour(int fd) {
  if (::isatty(fd) == 0) return false;
  const char* no_colour = std::getenv("NO_COLOR");
  if (no_colour != nullptr && *no_colour != '\0') return false;
  const char* term = std::getenv("TERM");
  return term != nullptr && std::string_view(term) != "dumb";
}

void describe(CLI::App& app, std::string_view what, std::string_view example) {
  app.description(wrap(std::string(what), kWidth) + "\n");
  std::string footer = "Example:\n  ";
  for (const char c : example) footer += c == '\n' ? std::string("\n  ") : std::string(1, c);
  app.footer(footer);
}

namespace {

CLI::Validator multiple_of_32() {
  return {[](const std::string& text) -> std::string {
            int value = 0;
            if (!CLI::detail::lexical_cast(text, value) || value < 32 || value > 4096 || value % 32 != 0) {
              return fmt::format(
                  "{} is not a multiple of 32 from 32 to 4096, which the network needs because it halves its input "
                  "five times",
                  text);
            }
            return "";
          },
          ""};
}

}  // namespace

CLI::Option* add_fixed_size(CLI::App& app, std::array<int, 2>& height_width) {
  return app
      .add_option("--fixed-size", height_width, "height and width of the network's input in pixels, multiples of 32")
      ->type_name("H W")
      ->check(multiple_of_32());
}

CLI::Option* add_fixed_size(CLI::App& app, std::optional<std::array<int, 2>>& height_width) {
  // The option is read as a vector, because GCC reports CLI11's parsing of an optional array as a read of uninitialised
  // memory.
  return app
      .add_option_function<std::vector<int>>(
          "--fixed-size,--resize-hw",
          [&](const std::vector<int>& v) {
            height_width = {v.at(0), v.at(1)};
          },
          "height and width of the network's input in pixels, multiples of 32 [default: the weights', else 256 192]")
      ->expected(2)
      ->type_name("H W")
      ->check(multiple_of_32());
}

CLI::Option* add_device(CLI::App& app, std::string& device) {
  const auto known = [](const std::string& text) -> std::string {
    if (text == "cpu" || text == "cuda") return "";
    const std::string number = text.starts_with("cuda:") ? text.substr(5) : "";
    if (!number.empty() && number.size() <= 3 && number.find_first_not_of("0123456789") == std::string::npos) return "";
    return fmt::format("unknown device '{}'; use cpu, cuda or cuda:N", text);
  };
  return app.add_option("--device", device, "where the network runs: cpu, cuda or cuda:N")
      ->type_name("NAME")
      ->check(CLI::Validator(known, ""));
}

CLI::Option* add_seed(CLI::App& app, uint64_t& seed) {
  return app.add_option("--seed", seed, "seed of the random numbers; the same seed gives the same result")
      ->type_name("N");
}

CLI::Option* add_threads(CLI::App& app, int& threads) {
  return app.add_option("--threads", threads, "number of threads that compute; 0: every core")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
}

namespace detail {
namespace {
std::string version() {
  return fmt::format("hrnet.cpp {}, for the CPU{}", HR_VERSION, cuda::built() ? " and CUDA" : " (built without CUDA)");
}
}  // namespace

int run_program(std::string_view name, int argc, const char* const* argv,
                const std::function<void(CLI::App&)>& add_options, const std::function<int()>& body) {
  // A write beyond the limit of the shell (ulimit -f) then fails with a reason instead of killing the program, which
  // would leave a temporary file behind.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    CLI::App app("", std::string(name));
    app.option_defaults()->always_capture_default();
    const auto formatter = std::make_shared<HelpFormatter>();
    formatter->column_width(kColumn);
    app.formatter(formatter);
    app.set_help_flag("-h,--help", "print this help");
    app.set_version_flag("--version", version, "print the version and for which devices the program was built");
    add_options(app);
    try {
      app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
      fmt::print("{}", app.help());
      return 0;
    } catch (const CLI::CallForVersion& text) {
      fmt::print("{}\n", text.what());
      return 0;
    } catch (const CLI::ParseError& error) {
      print_error(name, error.what(), fmt::format("; `{} --help` lists the options", name));
      return kExitUsage;
    }
    return body();
  } catch (const Error& error) {
    print_error(name, error.what());
  } catch (const std::bad_alloc&) {
    print_error(name, "out of memory; try a smaller batch, a smaller --fixed-size or fewer --workers");
  } catch (const std::system_error& error) {  // this includes std::filesystem::filesystem_error
    print_error(name, error.what());
  } catch (const std::exception& error) {
    print_error(name, fmt::format("internal error: {}; this is a bug, please report it", error.what()));
    return kExitInternal;
  }
  return kExitUsage;
}

}  // namespace detail
}  // namespace hr
