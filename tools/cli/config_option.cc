#include "tools/cli/config_option.h"

#include "core/error.h"

namespace hr {

void add_config_option(CLI::App& app, ConfigOptions& c,
                       const std::function<std::vector<std::string>(const OfficialConfig&)>& apply) {
  // CLI11 calls the options in the order in which they were added, so the settings are known when --cfg is called.
  app.add_option_function<std::vector<std::string>>(
         "settings",
         [&c, &app](const std::vector<std::string>& settings) {
           const CLI::Option* file = app.get_option("--cfg");
           check(file->count() > 0, "{}: unknown argument; settings KEY VALUE must follow --cfg FILE", settings[0]);
           c.settings = settings;
         },
         "settings that replace those of the file of --cfg, such as TRAIN.LR 0.002; they directly follow the file")
      ->type_name("KEY VALUE...");
  app.add_option_function<std::string>(
         "--cfg",
         [&c, apply](const std::string& file) {
           c.file = file;
           c.remarks = apply(open_official_config(file, c.settings));
         },
         "configuration file of the official project (experiments/*/*.yaml); other flags override its settings")
      ->type_name("FILE");
}

}  // namespace hr
