#include "tools/cli/cli.h"
#include "tools/programs/convert.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::ConvertOptions>("convert", argc, argv, hr::add_convert_options, hr::convert);
}
