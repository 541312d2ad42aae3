// The program `hrnet VERB ARGUMENTS` contains all programs. If it is called by another name, it is the program of that
// name. Thus a program that starts itself again (for its ranks, or with other settings of OpenMP) stays the same
// program.
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "hrnet/version.h"

#define VERB(name) int name##_main(int argc, char** argv);
#include "hrnet_verbs.inc"
#undef VERB

namespace {

struct Verb {
  std::string_view name;
  int (*main)(int argc, char** argv);
};
constexpr Verb kVerbs[] = {
#define VERB(name) {#name, name##_main},
#include "hrnet_verbs.inc"
#undef VERB
};

const Verb* find(std::string_view name) {
  for (const Verb& verb : kVerbs) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

std::string names() {
  std::string all;
  for (const Verb& verb : kVerbs) all += (all.empty() ? "" : ", ") + std::string(verb.name);
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view called = argc > 0 ? argv[0] : "";
  if (const Verb* self = find(called.substr(called.rfind('/') + 1))) return self->main(argc, argv);
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (const Verb* verb = find(first)) return verb->main(argc - 1, argv + 1);
  if (first == "--version") {
    fmt::print("hrnet.cpp {}\n", HRNET_VERSION);
    return 0;
  }
  const std::string usage = "usage: hrnet VERB [OPTIONS], for example `hrnet predict --help`. Verbs: " + names();
  if (first == "--help" || first == "-h") {
    fmt::print("{}\n", usage);
    return 0;
  }
  if (first.empty()) {
    fmt::print(stderr, "hrnet: error: expected a verb; {}\n", usage);
  } else {
    fmt::print(stderr, "hrnet: error: unknown verb '{}'; {}\n", first, usage);
  }
  return 2;
}
