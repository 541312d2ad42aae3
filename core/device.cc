#include "core/device.h"

#include <charconv>

#include "core/cuda.h"

namespace hr {

std::string to_string(Device device) {
  return device.type == Device::Type::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

Device parse_device(std::string_view text) {
  if (text == "cpu") return {};
  if (text == "cuda" || text.starts_with("cuda:")) {
    int index = 0;
    if (text.size() > 4) {
      const std::string_view digits = text.substr(5);
      const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
      check_field(!digits.empty() && code == std::errc() && end == digits.data() + digits.size() && index >= 0,
                  "device", "{}: expected cuda:N with N a device number", text);
    }
    check_field(cuda::device_count() > 0, "device", "{}: {}; use `device` cpu", text, cuda::why_no_device());
    check_field(index < cuda::device_count(), "device", "{}: this machine's last device is cuda:{}", text,
                cuda::device_count() - 1);
    return {Device::Type::cuda, index};
  }
  fail_field("device", "{}: expected cpu, cuda or cuda:N", text);
}

}  // namespace hr
