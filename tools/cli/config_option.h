// --cfg FILE KEY VALUE ...: settings of one of the official project's configuration files, for train and validate.
#pragma once
#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <vector>

#include "hrnet/train/official_config.h"

namespace hr {

struct ConfigOptions {
  std::string file;
  std::vector<std::string> settings;  // KEY VALUE ...
  std::vector<std::string> remarks;   // what `apply` returned
};
// Calls `apply` when the command line has the flag. It comes before all flags that are added later, so these have the
// last word: this has to be the first call. Settings without --cfg are an error.
void add_config_option(CLI::App& app, ConfigOptions& config,
                       const std::function<std::vector<std::string>(const OfficialConfig&)>& apply);

}  // namespace hr
