// Reads what the system says of the mapping in which an address lies. In /proc/self/smaps each mapping begins with a
// line "first-last permissions ..." in hexadecimal, and lines "Field: value" follow.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

namespace hr::test {

// Returns the value of a field, for example "Rss:" in "  128 kB" or "VmFlags:"; empty if there is none.
inline std::string smaps_field(const void* address, const std::string& field) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  std::ifstream smaps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    char* end = nullptr;
    const uintptr_t first = std::strtoull(line.c_str(), &end, 16);
    if (end != line.c_str() && *end == '-') inside = first <= at && at < std::strtoull(end + 1, nullptr, 16);
    if (inside && line.starts_with(field)) return line.substr(field.size());
  }
  return "";
}

}  // namespace hr::test
