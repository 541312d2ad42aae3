// The engine for a single process: every collective is the identity.
#pragma once
#include <memory>

#include "core/comm/comm.h"

namespace hr {

std::unique_ptr<Comm> make_local_comm();

}  // namespace hr
