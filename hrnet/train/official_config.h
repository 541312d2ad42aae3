// Reads the configuration files of the official project (deep-high-resolution-net.pytorch, experiments/*/*.yaml) and
// translates their settings. docs/guide/training.md has the table of all keys.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "hrnet/train/recipe.h"
#include "hrnet/validate/validation.h"

namespace hr {

struct OfficialConfig {
  std::string text, name;              // The text of the file, and its name in messages.
  std::vector<std::string> overrides;  // KEY VALUE KEY VALUE ..., which replace settings of the file.
};
// Throws Error with the field cfg if the file cannot be read or has more than 256 KiB.
OfficialConfig open_official_config(const fs::path& file, std::vector<std::string> overrides = {});

// Set everything that such a file decides; settings that the file lacks get the defaults of the official project.
// Return remarks about keys that have no effect, in the original or here, and about settings that mean something else
// here. Both throw Error with the field cfg, which names the place and the key, if the text is not YAML, if a key is
// unknown (with the nearest one that is known), if a value has another type, or if a setting is not supported here,
// such as an optimiser other than Adam.
std::vector<std::string> apply_official_config(const OfficialConfig& config, TrainRecipe& recipe);
std::vector<std::string> apply_official_config(const OfficialConfig& config, ValidationOptions& options);

}  // namespace hr
