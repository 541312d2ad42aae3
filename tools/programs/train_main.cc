#include "tools/cli/cli.h"
#include "tools/cli/model_options.h"
#include "tools/programs/train.h"

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  hr::hold_output_of_other_ranks();
  return hr::run_program<hr::TrainOptions>("train", argc, argv, hr::add_train_options, [](const hr::TrainOptions& o) {
    return hr::run_ranks("train", o.ranks, o.threads, hr::last_checkpoint(o),
                         [&](hr::World& world) { return hr::train(o, world); });
  });
}
