// The program validate: flags for a validation, and its numbers as text.
#pragma once
#include <CLI/CLI.hpp>

#include "hrnet/validate/validation.h"
#include "tools/cli/config_option.h"

namespace hr {

struct ValidateOptions : ValidationOptions {
  ConfigOptions config;
};
void add_validate_options(CLI::App& app, ValidateOptions& options);
// Prints what is measured and how, then the numbers. Writes the files of Validation::run into --output-dir, and
// analysis.png with --analysis.
void validate(const ValidateOptions& options);

}  // namespace hr
