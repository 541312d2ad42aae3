#include "tools/cli.h"
#include "tools/validate.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::ValidateOptions>("validate", argc, argv, hr::add_validate_options, hr::validate);
}
