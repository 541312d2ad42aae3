#include "tools/cli.h"
#include "tools/infer.h"
#include "tools/train.h"

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  return hr::run_program<hr::TrainOptions>("train", argc, argv, hr::add_train_options, hr::train);
}
