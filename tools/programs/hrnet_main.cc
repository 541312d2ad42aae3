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

// What --help says of each verb, in the order in which people need them.
struct Line {
  std::string_view verb, what;
};
constexpr Line kLines[] = {
    {"predict", "poses of the people in pictures"},
    {"detect", "boxes of the people in pictures"},
    {"track", "ids for the boxes of a video"},
    {"validate", "OKS AP or PCKh of a network on a dataset"},
    {"train", "trains a network, on one device or many"},
    {"coco_eval", "AP of a result file, as pycocotools computes it"},
    {"track_eval", "HOTA, IDF1 and MOTA of a track file"},
    {"convert", "weight files into other formats"},
    {"browse", "the samples of a dataset as training sees them"},
    {"to_coco", "annotations from the export of a labelling tool"},
    {"pack", "a dataset in one file that loads faster"},
    {"synth", "a small dataset to try everything with"},
    {"forward", "the output of a network for a given input"},
    {"bench", "how fast steps, kernels, loading and collectives are"},
};
constexpr bool described(std::string_view verb) {
  for (const Line& line : kLines) {
    if (line.verb == verb) return true;
  }
  return false;
}
#define VERB(name) static_assert(described(#name), "kLines has no line for " #name);
#include "hrnet_verbs.inc"
#undef VERB

std::string usage() {
  std::string text =
      "Human pose estimation: one program with a verb for each task.\n\n"
      "usage: hrnet VERB [OPTIONS]\n"
      "       hrnet VERB --help      what the verb does, its options and an example\n"
      "       hrnet --version\n\n";
  for (const Line& line : kLines) text += fmt::format("  {:<12} {}\n", line.verb, line.what);
  return text + "\nexample: hrnet predict street.jpg --weights pose_hrnet_w32_256x192.pth\n";
}

std::string names() {
  std::string all;
  for (const Line& line : kLines) all += (all.empty() ? "" : ", ") + std::string(line.verb);
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
  if (first == "--help" || first == "-h") {
    fmt::print("{}", usage());
    return 0;
  }
  if (first.empty()) {
    fmt::print(stderr, "hrnet: error: no verb is given\n\n{}", usage());
  } else {
    fmt::print(stderr, "hrnet: error: there is no verb '{}'; expected one of {}\n", first, names());
  }
  return 2;
}
