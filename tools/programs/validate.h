// The program validate translates flags into a validation, and prints its numbers.
#pragma once
#include <CLI/CLI.hpp>

#include "hrnet/validate/validation.h"
#include "tools/cli/config_option.h"

namespace hr {

struct ValidateOptions : ValidationOptions {
  ConfigOptions config;
};
void add_validate_options(CLI::App& app, ValidateOptions& options);
// Prints what is measured and how, and then the numbers. Writes the files of Validation::run into --output-dir, and
// with --analysis also analysis.png.
void validate(const ValidateOptions& options);

}  // namespace hr
