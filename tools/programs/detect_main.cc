#include "tools/cli/cli.h"
#include "tools/cli/model_options.h"
#include "tools/programs/detect.h"

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  return hr::run_program<hr::DetectOptions>("detect", argc, argv, hr::add_detect_options, hr::detect);
}
