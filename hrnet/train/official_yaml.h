// Reads the text of a configuration file of the official project as a flat list of settings. The file may come from
// anywhere, so its size, its depth and the size after the expansion of aliases are limited.
#pragma once
#include <string>
#include <vector>

namespace hr {

struct OfficialEntry {
  std::string key;                 // "TRAIN.LR"
  std::vector<std::string> items;  // The text of a scalar, or the texts of a list.
  bool list = false, null = false;
  std::string place;  // "file.yaml, line 7"
};

// Returns all settings in the order of the file. Anchors, aliases, merge keys (<<) and flow style are supported. Throws
// Error with the field cfg, which names the file and the line, if the text is not YAML, has more than one document, is
// not a map of settings, gives a key twice, has a list of anything but scalars, has more than 256 KiB, nests maps
// deeper than 16, or has more than 10,000 nodes with all aliases expanded.
std::vector<OfficialEntry> read_official_yaml(const std::string& text, const std::string& name);

}  // namespace hr
