// Translates the settings that the library's messages name into flags. The library writes `batch_size`, the field of a
// struct of options; a user of a program knows it as --batch-size.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace hr {

// Returns the message with flags in place of all names of settings that stand in backticks. Other words in backticks
// stay.
std::string with_flags(std::string_view message);
std::vector<std::string> with_flags(std::vector<std::string> messages);

// Returns the flag of one setting: "--batch-size" for "batch_size". Returns an empty string if no program has a flag
// for it.
std::string flag_of(std::string_view field);

}  // namespace hr
