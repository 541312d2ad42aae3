#include "tools/cli/cli.h"
#include "tools/cli/model_options.h"
#include "tools/programs/predict.h"

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  return hr::run_program<hr::PredictOptions>("predict", argc, argv, hr::add_predict_options, hr::predict);
}
