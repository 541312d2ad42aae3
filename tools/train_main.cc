#include "tools/cli.h"
#include "tools/train.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::TrainOptions>("train", argc, argv, hr::add_train_options, hr::train);
}
