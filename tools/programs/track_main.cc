#include "tools/cli/cli.h"
#include "tools/programs/track.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::TrackArguments>("track", argc, argv, hr::add_track_options, hr::run_track);
}
