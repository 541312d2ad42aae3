// The configuration files of the official project (deep-high-resolution-net.pytorch, experiments/*/*.yaml), and what
// their settings mean here. docs/guide/training.md has the table of all keys.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "hrnet/train/recipe.h"
#include "hrnet/validate/validation.h"

namespace hr {

struct OfficialConfig {
  std::string text, name;              // the file's, and how messages call it
  std::vector<std::string> overrides;  // KEY VALUE KEY VALUE ..., which come after the file's
};
// Throws Error, field cfg, if the file cannot be read.
OfficialConfig open_official_config(const fs::path& file, std::vector<std::string> overrides = {});

// Set everything that the file decides, and what it leaves out as the official project's defaults have it. Return
// remarks: keys that do nothing, in the original or here, and settings that mean something else here. Both throw Error,
// field cfg, that names the place and the key: no YAML, an unknown key (with the nearest one), a value of another type,
// or a setting that nothing here can honour, such as an optimiser other than Adam.
std::vector<std::string> apply_official_config(const OfficialConfig& config, TrainRecipe& recipe);
std::vector<std::string> apply_official_config(const OfficialConfig& config, ValidationOptions& options);

}  // namespace hr
