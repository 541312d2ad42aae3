#include "tools/programs/cli.h"
#include "tools/programs/detect.h"
#include "tools/programs/infer.h"

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  return hr::run_program<hr::DetectOptions>("detect", argc, argv, hr::add_detect_options, hr::detect);
}
