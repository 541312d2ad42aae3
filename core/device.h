// The devices where tensors live and ops run.
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

std::string to_string(Device device);  // For example "cpu" or "cuda:1".

// Parses "cpu", "cuda" and "cuda:N". Throws Error for any other text, and for a CUDA device that this build or this
// machine does not have. The program never uses another device than the one asked for.
Device parse_device(std::string_view text);

}  // namespace hr
