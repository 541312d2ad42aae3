#include "tools/plot/history_plot.h"

#include "tools/plot/plot.h"

namespace hr {

void plot_history(const fs::path& path, const std::vector<EpochRecord>& history) {
  Series loss{"train loss", {}, {}}, lr{"learning rate", {}, {}};
  struct Measured {
    size_t at;
    double unit;
    Series series;
  };
  const bool pckh = !history.empty() && history.back().pckh;
  std::vector<Measured> measured{{0, 1, {"AP", {}, {}}}, {1, 1, {"AP .50", {}, {}}}, {5, 1, {"AR", {}, {}}}};
  if (pckh) measured = {{7, 100, {"PCKh@0.5", {}, {}}}, {8, 100, {"PCKh@0.1", {}, {}}}};
  for (const EpochRecord& r : history) {
    const double x = r.epoch + 1;
    loss.x.push_back(x), loss.y.push_back(r.loss);
    lr.x.push_back(x), lr.y.push_back(r.lr);
    if (r.stats.empty() || r.pckh != pckh) continue;
    for (Measured& m : measured) m.series.x.push_back(x), m.series.y.push_back(r.stats[m.at] / m.unit);
  }
  std::vector<Series> validation;
  validation.reserve(measured.size());
  for (Measured& m : measured) validation.push_back(std::move(m.series));
  const std::vector<Panel> panels{{"Loss", "epochs", "", {loss}, true, false},
                                  {"Learning rate", "epochs", "", {lr}, true, false},
                                  {"Validation", "epochs", "", validation, false, true}};
  write_image(path, plot(panels, 1500, 420));
}

}  // namespace hr
