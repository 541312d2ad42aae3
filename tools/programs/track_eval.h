// The program track_eval computes CLEAR, IDF1 and HOTA of a tracker's result.
#pragma once
#include <CLI/CLI.hpp>

#include <string>

#include "eval/track_eval.h"

namespace hr {

struct TrackEvalArguments {
  std::string gt, dt;  // MOT text
  std::string rules = "motmetrics";
  TrackEvalOptions options;
  bool json = false;
};

void add_track_eval_options(CLI::App& app, TrackEvalArguments& arguments);
// Prints a table or one JSON object to stdout, and remarks to stderr.
void run_track_eval(const TrackEvalArguments& arguments);

}  // namespace hr
