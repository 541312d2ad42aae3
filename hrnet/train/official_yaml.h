// The text of a configuration file of the official project, as a flat list of settings. Files come from anywhere: size,
// depth and what aliases expand to are limited.
#pragma once
#include <string>
#include <vector>

namespace hr {

struct OfficialEntry {
  std::string key;                 // "TRAIN.LR"
  std::vector<std::string> items;  // the text of a scalar, or those of a list
  bool list = false, null = false;
  std::string place;  // "file.yaml, line 7"
};

// All settings in the file's order. Anchors, aliases, merge keys (<<) and flow style are understood. Throws Error,
// field cfg, that names the file and the line: no YAML, more than one document, no map of settings, a key given twice,
// a list of anything but scalars, more than 256 KiB, maps within maps deeper than 16, or more than 10,000 nodes with
// all aliases expanded.
std::vector<OfficialEntry> read_official_yaml(const std::string& text, const std::string& name);

}  // namespace hr
