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
std::vector<float> Int8Parameters::factors(const Int8Graph::Node& node) const {
  return entry(factors_of, node.name, "are no factors");
}

std::vector<std::vector<float>> by_channels(const Int8Graph& graph,
                                            const std::function<std::vector<float>(const Int8Graph::Node&)>& of) {
  using Kind = Int8Graph::Kind;
  std::vector<std::vector<float>> all(graph.values.size());
  for (const Int8Graph::Node& node : graph.nodes) {
    std::vector<float>& own = all[static_cast<size_t>(node.y)];
    for (const Int8Graph::Term& t : node.terms) {
      const std::vector<float>& from = all[static_cast<size_t>(t.value)];
      if (node.kind == Kind::concat) own.insert(own.end(), from.begin(), from.end());
    }
    if (node.kind != Kind::concat) own = of(node);
    if (node.kind == Kind::pool && own.empty()) own = all[static_cast<size_t>(node.x)];
  }
  return all;
}

std::vector<std::vector<float>> int8_factors(const Int8Graph& graph, const Int8Source& source) {
  return by_channels(graph, [&](const Int8Graph::Node& node) {
    const bool own =
        graph.channels && node.kind != Int8Graph::Kind::pool && graph.values[static_cast<size_t>(node.y)].bytes;
    return own ? source.factors(node) : std::vector<float>();
  });
}

}  // namespace hr
