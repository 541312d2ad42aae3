#include "core/comm/control_messages.h"

#include <unistd.h>

#include <array>

namespace hr::control {

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

std::string describe(int rank, const std::string& host, int pid) {
  return fmt::format("rank {} (host {}, process {})", rank, host, pid);
}

std::string pack(const Failure& f) {
  return Packer()
      .u32(static_cast<uint32_t>(f.rank))
      .u32(static_cast<uint32_t>(f.status))
      .u32(f.lost)
      .text(f.what)
      .str();
}

Failure unpack_failure(std::string_view payload) {
  Unpack in(payload);
  Failure f;
  f.rank = static_cast<int>(in.u32());
  f.status = static_cast<int>(in.u32());
  f.lost = in.u32() != 0;
  f.what = in.text();
  return f;
}

}  // namespace hr::control
