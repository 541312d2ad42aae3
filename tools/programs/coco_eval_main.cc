#include "tools/cli/cli.h"
#include "tools/programs/coco_eval.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::CocoEvalArguments>("coco_eval", argc, argv, hr::add_coco_eval_options, hr::run_coco_eval);
}
