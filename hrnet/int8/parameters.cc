#include "hrnet/int8/parameters.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace hr {

Int8Step Int8Range::step(const std::string& name) const {
  check(std::isfinite(low) && std::isfinite(high) && low <= 0 && high > 0 && std::isfinite(high - low),
        "int8: the range of {} is {} to {}", name, low, high);
  const float scale = (high - low) / 255;
  check(scale > 0, "int8: the range of {} is {} to {}", name, low, high);
  return {scale, std::min(255, static_cast<int>(std::lround(-low / scale)))};
}

namespace {
template <class Map>
const auto& entry(const Map& map, const std::string& name, const char* what) {
  const auto found = map.find(name);
  check(found != map.end(), "int8: there {} of {}", what, name);
  return found->second;
}
}  // namespace

Int8Weights Int8Parameters::conv(const Int8Graph::Node& node) const {
  return entry(convs, node.name, "are no weights");
}
Int8Float Int8Parameters::floats(const Int8Graph::Node& node) const {
  return entry(floats_of, node.name, "are no weights");
}
Int8Range Int8Parameters::range(const std::string& name) const { return entry(ranges, name, "is no range"); }

}  // namespace hr
