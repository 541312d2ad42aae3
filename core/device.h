// Where tensors live and ops run.
#pragma once
#include <string>
#include <string_view>

namespace hr {

struct Device {
  enum class Type : unsigned char { cpu, cuda };
  Type type = Type::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
  bool is_cuda() const { return type == Type::cuda; }
};

std::string to_string(Device device);  // "cpu", "cuda:1"

// Parses "cpu", "cuda", "cuda:N". Error for anything else, and for a CUDA device this build or machine does not have:
// the program never falls back to another device by itself.
Device parse_device(std::string_view text);

}  // namespace hr
