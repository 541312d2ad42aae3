#include "tools/cli/cli.h"
#include "tools/programs/track_eval.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::TrackEvalArguments>("track_eval", argc, argv, hr::add_track_eval_options,
                                                 hr::run_track_eval);
}
