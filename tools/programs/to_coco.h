// The program to_coco makes annotation files for training and validation from the export of a labelling tool.
#pragma once
#include <CLI/CLI.hpp>

#include <string>

#include "data/formats/labels.h"

namespace hr {

struct ToCocoArguments {
  std::string input, output;  // The export, and the folder for train.json and val.json.
  int val_every = 5;
  LabelOptions labels;
};

void add_to_coco_options(CLI::App& app, ToCocoArguments& arguments);
// Writes both files, and prints a line about each of them and the joints to stdout.
void run_to_coco(const ToCocoArguments& arguments);

}  // namespace hr
