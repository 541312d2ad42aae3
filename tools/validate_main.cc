#include "tools/cli.h"
#include "tools/infer.h"
#include "tools/validate.h"

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  return hr::run_program<hr::ValidateOptions>("validate", argc, argv, hr::add_validate_options, hr::validate);
}
