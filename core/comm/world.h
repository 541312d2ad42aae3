// All ranks of a run: the control connection and an engine for collectives, in one object that a program makes first.
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
  std::shared_ptr<Control> control;  // Null if there is only one process.
  std::unique_ptr<Comm> comm;        // The engine of the device.

  int rank() const { return ranks.rank; }
  int size() const { return ranks.size; }
  bool first() const { return ranks.rank == 0; }  // True on the rank that prints and writes files.
};

// A world of one process, without connections.
World lone_world();
// Makes the engine for `device`; call it after control->join(). A single process gets the local engine.
void make_engine(World& world, Device device);

// Compares values that must be equal on all ranks (flags, hashes of files), given as name and value. Long values should
// be hashed first. All ranks call it with the same names in the same order. Throws Error on all ranks that names the
// first difference, the two ranks and both values. A rank whose value is kAbsent takes rank 0's value.
constexpr std::string_view kAbsent = "(absent)";
using Facts = std::vector<std::pair<std::string, std::string>>;
void require_agreement(const World& world, const Facts& facts);

// Returns the first 16 digits of the SHA-256 of a file's bytes, "(none)" for an empty path, and kAbsent if there is no
// such file.
std::string hash_of_file(const std::string& path);

}  // namespace hr
