// The option --cfg FILE KEY VALUE ... of train and validate, which takes settings from a configuration file of the
// official project.
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
  std::vector<std::string> remarks;   // What `apply` returned.
};
// Adds the option; `apply` is called if the command line has it. Options that are added later take effect later and so
// override the file's settings, therefore this must be the first option of a program. Throws Error if there are
// settings without --cfg.
void add_config_option(CLI::App& app, ConfigOptions& config,
                       const std::function<std::vector<std::string>(const OfficialConfig&)>& apply);

}  // namespace hr
