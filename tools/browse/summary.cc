#include "tools/browse/summary.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "core/counted.h"

namespace hr {
namespace {

// Describes the range, the quartiles and the median of a list in one line.
std::string spread(std::vector<double> v, const char* unit) {
  if (v.empty()) return "none";
  std::sort(v.begin(), v.end());
  const auto at = [&](double part) { return v[static_cast<size_t>(part * static_cast<double>(v.size() - 1))]; };
  return fmt::format("{:.0f} to {:.0f}, half of them {:.0f} to {:.0f}, median {:.0f} {}", v.front(), v.back(), at(0.25),
                     at(0.75), at(0.5), unit);
}

std::string bar(double part, int width) { return std::string(static_cast<size_t>(std::lround(part * width)), '#'); }

}  // namespace

std::string summarize(const PoseDataset& data) {
  const Skeleton& skeleton = data.skeleton();
  const int joints = skeleton.joints();
  std::string out = fmt::format("{}\n  {}\n", data.annotations().path, data.counts().summary());

  std::unordered_map<int, int> people_of;
  std::vector<double> width, height, side;
  std::vector<size_t> labelled(joints), visible(joints), by_count(joints + 1);
  size_t small = 0, medium = 0, large = 0;
  for (const Person& p : data.people()) {
    ++people_of[p.image_index];
    side.push_back(std::sqrt(std::max(0.0, p.box.w * p.box.h)));
    const double area = p.box.w * p.box.h;
    ++(area < 32.0 * 32 ? small : area < 96.0 * 96 ? medium : large);
    size_t n = 0;
    for (size_t k = 0; 3 * k + 2 < p.joints.size(); ++k) {
      labelled[k] += static_cast<size_t>(p.joints[3 * k + 2] > 0);
      visible[k] += static_cast<size_t>(p.joints[3 * k + 2] > 1);
      n += static_cast<size_t>(p.joints[3 * k + 2] > 0);
    }
    ++by_count[std::min(n, by_count.size() - 1)];
  }
  size_t pictures_with_one = 0, most = 0;
  for (const auto& [image, n] : people_of) {
    const CocoImage& entry = data.annotations().images[image];
    width.push_back(entry.width);
    height.push_back(entry.height);
    pictures_with_one += static_cast<size_t>(n == 1);
    most = std::max(most, static_cast<size_t>(n));
  }
  out += fmt::format("  {} in {} of {} ({:.2f} each, {} at most, {} with one)\n", counted_people(data.size()),
                     people_of.size(), counted(data.annotations().images.size(), "picture"),
                     static_cast<double>(data.size()) / static_cast<double>(std::max<size_t>(people_of.size(), 1)),
                     most, counted(pictures_with_one, "picture"));
  out += "  picture width   " + spread(width, "px") + "\n  picture height  " + spread(height, "px") + "\n";
  out += "  person's side   " + spread(side, "px (root of the box)") + "\n";
  out += fmt::format("  boxes by COCO's areas: {} small (under 32 x 32), {} medium, {} large (from 96 x 96)\n", small,
                     medium, large);

  const auto share = [&](size_t n) {
    return static_cast<double>(n) / static_cast<double>(std::max<size_t>(data.size(), 1));
  };
  out += fmt::format("  joints of {}{}\n", skeleton.name,
                     skeleton.sigmas_assumed ? " (its OKS sigmas are assumed, because the data do not give them)" : "");
  size_t longest = 0;
  for (const std::string& name : skeleton.names) longest = std::max(longest, name.size());
  for (int k = 0; k < joints; ++k) {
    out += fmt::format("    {:<{}}  labelled {:5.1f} %, visible {:5.1f} %  {}\n", skeleton.names[k], longest,
                       100 * share(labelled[k]), 100 * share(visible[k]), bar(share(labelled[k]), 40));
  }
  out += "  people by number of labelled joints\n";
  for (size_t first = 0; first <= static_cast<size_t>(joints); first += 4) {
    const size_t last = std::min<size_t>(first + 3, joints);
    const size_t n = std::accumulate(by_count.begin() + static_cast<ptrdiff_t>(first),
                                     by_count.begin() + static_cast<ptrdiff_t>(last) + 1, size_t{0});
    if (n > 0) out += fmt::format("    {:>3} to {:<3}  {:7}  {}\n", first, last, n, bar(share(n), 40));
  }
  const auto bad = data.bad().entries();
  if (!bad.empty()) {
    out += fmt::format("  dropped: {}\n", data.bad().summary());
    for (size_t i = 0; i < std::min<size_t>(bad.size(), 20); ++i) out += "    " + bad[i].message + "\n";
    if (bad.size() > 20) out += fmt::format("    and {} more, see the list\n", bad.size() - 20);
  }
  return out;
}

}  // namespace hr
