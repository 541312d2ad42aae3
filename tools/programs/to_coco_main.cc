#include "tools/cli/cli.h"
#include "tools/programs/to_coco.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::ToCocoArguments>("to_coco", argc, argv, hr::add_to_coco_options, hr::run_to_coco);
}
