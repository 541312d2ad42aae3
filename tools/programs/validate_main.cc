#include "tools/cli/cli.h"
#include "tools/cli/model_options.h"
#include "tools/programs/validate.h"

int main(int argc, char** argv) {
  hr::limit_openmp_spinning(argv);
  return hr::run_program<hr::ValidateOptions>("validate", argc, argv, hr::add_validate_options, hr::validate);
}
