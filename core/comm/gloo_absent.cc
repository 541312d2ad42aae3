#include "core/comm/gloo.h"

namespace hr {

std::unique_ptr<Comm> make_gloo_comm(std::shared_ptr<Control>) {  // NOLINT(performance-unnecessary-value-param)
  fail(
      "several ranks on CPUs need Gloo, and this program was built without it (cmake -DHR_GLOO=ON, Debian: "
      "libgloo-dev)");
}

}  // namespace hr
