#include "tools/cli/cli.h"
#include "tools/programs/browse.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::BrowseOptions>("browse", argc, argv, hr::add_browse_options, hr::browse);
}
