#include "tools/browse.h"
#include "tools/cli.h"

int main(int argc, char** argv) {
  return hr::run_program<hr::BrowseOptions>("browse", argc, argv, hr::add_browse_options, hr::browse);
}
