#include "tools/programs/browse.h"
#include "tools/programs/cli.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::BrowseOptions>("browse", argc, argv, hr::add_browse_options, hr::browse);
}
