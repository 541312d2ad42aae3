// Collectives over TCP for host memory: Gloo (facebookincubator), as Debian packages it.
#pragma once
#include <memory>

#include "core/comm/comm.h"
#include "core/comm/control.h"

namespace hr {

// Connects every rank with every other one, at the addresses at which they reach rank 0 (GLOO_SOCKET_IFNAME=eth1
// selects another interface). All ranks of `control` must call it. Throws Error if this program was built without Gloo.
std::unique_ptr<Comm> make_gloo_comm(std::shared_ptr<Control> control);

}  // namespace hr
