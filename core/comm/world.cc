#include "core/comm/world.h"

#include "core/comm/gloo.h"
#include "core/comm/local.h"
#include "core/comm/nccl.h"
#include "core/digest/sha256.h"
#include "core/file.h"

namespace hr {

World lone_world() { return {.comm = make_local_comm()}; }

void make_engine(World& world, Device device) {
  if (world.control == nullptr) {
    world.comm = make_local_comm();
  } else if (device.type == Device::Type::cuda) {
    world.comm = make_nccl_comm(world.control, device);
  } else {
    world.comm = make_gloo_comm(world.control);
  }
}

void require_agreement(const World& world, const Facts& facts) {
  if (world.control == nullptr) return;
  Packer mine;
  mine.u32(static_cast<uint32_t>(facts.size()));
  for (const auto& [name, value] : facts) mine.text(name).text(value);
  const std::vector<std::string> all = world.control->all_gather(mine.str());
  const auto unpack = [&](int rank) {
    Unpack in(all[rank]);
    Facts theirs(in.u32());
    for (auto& [name, value] : theirs) {
      name = in.text();
      value = in.text();
    }
    return theirs;
  };
  const Facts first = unpack(0);
  for (int r = 1; r < world.size(); ++r) {
    const Facts other = unpack(r);
    check(other.size() == first.size(), "{} and {} compare different things: are they the same program?",
          world.control->name(0), world.control->name(r));
    for (size_t i = 0; i < first.size(); ++i) {
      check(first[i] == other[i] || other[i].second == kAbsent,
            "{}: {} has {}, {} has {}; all ranks must be started alike", first[i].first, world.control->name(0),
            first[i].second, world.control->name(r), other[i].second);
    }
  }
}

std::string hash_of_file(const std::string& path) {
  if (path.empty()) return "(none)";
  if (!fs::exists(path)) return std::string(kAbsent);
  const MappedFile file(path);
  Sha256 hash;
  hash.update(file.bytes());
  return hash.hex().substr(0, 16);
}

}  // namespace hr
