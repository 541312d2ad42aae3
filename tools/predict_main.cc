#include "tools/cli.h"
#include "tools/infer.h"
#include "tools/predict.h"

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  return hr::run_program<hr::PredictOptions>("predict", argc, argv, hr::add_predict_options, hr::predict);
}
