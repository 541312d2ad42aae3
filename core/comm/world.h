// All ranks of a run: the control connections and an engine for collectives, in one object that a program makes first.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/comm/comm.h"
#include "core/comm/control.h"
#include "core/device.h"

namespace hr {

struct World {
  Ranks ranks;
  std::shared_ptr<Control> control;  // null for one process
  std::unique_ptr<Comm> comm;        // engine of the device

  int rank() const { return ranks.rank; }
  int size() const { return ranks.size; }
  bool first() const { return ranks.rank == 0; }  // the one that prints and writes files
};

// One process, no connections.
World lone_world();
// After control->join(): the engine for `device`. One process: local.
void make_engine(World& world, Device device);

// Flags, files and whatever else must be equal on all ranks, as name and value; hash long ones. All ranks call it with
// the same names in the same order. Error on all ranks that names the first difference, the two ranks and both values.
// A rank whose value is kAbsent takes rank 0's.
constexpr std::string_view kAbsent = "(absent)";
using Facts = std::vector<std::pair<std::string, std::string>>;
void require_agreement(const World& world, const Facts& facts);

// The first 16 digits of the SHA-256 of a file's bytes; "(none)" for an empty path, kAbsent when there is no such file.
std::string hash_of_file(const std::string& path);

}  // namespace hr
