#include "tools/cli/cli.h"
#include "tools/programs/pack.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::PackOptions>("pack", argc, argv, hr::add_pack_options, hr::pack);
}
