// Numbers of things in messages: "1 person", "2 people".
#pragma once
#include <fmt/format.h>

#include <concepts>
#include <string>
#include <string_view>

namespace hr {

// counted(1, "picture") is "1 picture" and counted(2, "person", "people") is "2 people". If `plural` is not given, it
// is the singular with an s.
template <std::integral N>
std::string counted(N n, std::string_view singular, std::string_view plural = "") {
  if (n == 1) return fmt::format("1 {}", singular);
  return plural.empty() ? fmt::format("{} {}s", n, singular) : fmt::format("{} {}", n, plural);
}

template <std::integral N>
std::string counted_people(N n) {
  return counted(n, "person", "people");
}

}  // namespace hr
