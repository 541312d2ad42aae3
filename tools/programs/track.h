// The program track gives ids to the people in the boxes of a video, as MOT text.
#pragma once
#include <CLI/CLI.hpp>

#include <string>

#include "hrnet/infer/tracker.h"

namespace hr {

struct TrackArguments {
  std::string detections, output;  // MOT text
  double fps = 30;
  TrackerOptions tracker;
};

void add_track_options(CLI::App& app, TrackArguments& arguments);
// Writes the tracks to the output, and prints one line about them to stderr.
void run_track(const TrackArguments& arguments);

}  // namespace hr
