#include "tools/plot/history_plot.h"

#include <map>

#include "core/io/json.h"

namespace hr {
namespace {

Panel validation_panel(const std::vector<EpochRecord>& history) {
  bool pckh = false;
  for (const EpochRecord& r : history) pckh = r.pckh;
  struct Column {
    size_t at;
    const char* name;
  };
  const std::vector<Column> columns = pckh ? std::vector<Column>{{7, "PCKh@0.5"}, {8, "PCKh@0.1"}}
                                           : std::vector<Column>{{0, "AP"}, {1, "AP .50"}, {5, "AR"}};
  Panel panel{.title = pckh ? "Validation, PCKh in percent" : "Validation, OKS AP",
              .x_label = "epoch",
              .y_label = "",
              .series = {},
              .whole_x = true,
              .y_range = std::array<double, 2>{0, pckh ? 100.0 : 1.0},
              .empty = "not validated yet"};
  for (const Column& column : columns) {
    Series& series = panel.series.emplace_back(Series{column.name, {}, {}});
    for (const EpochRecord& r : history) {
      if (r.stats.empty() || r.pckh != pckh) continue;
      series.x.push_back(r.epoch + 1);
      series.y.push_back(r.stats.at(column.at));
    }
  }
  return panel;
}

Panel speed_panel(const std::vector<EpochSpeed>& speeds) {
  Series rate{"img/s", {}, {}}, wait{"data wait, % of the time", {}, {}, true};
  for (const EpochSpeed& speed : speeds) {
    rate.x.push_back(speed.epoch + 1), rate.y.push_back(speed.samples_per_second);
    wait.x.push_back(speed.epoch + 1), wait.y.push_back(100 * speed.wait_share);
  }
  return {.title = "Throughput",
          .x_label = "epoch",
          .y_label = "",
          .series = {rate, wait},
          .y_from_zero = true,
          .whole_x = true,
          .right_range = {0, 100},
          .right_unit = "%",
          .empty = "not measured"};
}

}  // namespace

std::vector<EpochSpeed> epoch_speeds(std::string_view metrics) {
  std::map<int, EpochSpeed> by_epoch;
  for (size_t at = 0, end; (end = metrics.find('\n', at)) != std::string_view::npos; at = end + 1) {
    rapidjson::Document line;
    line.Parse(metrics.data() + at, end - at);
    if (line.HasParseError() || !line.IsObject()) continue;
    const auto number = [&](const char* name) {
      const auto member = line.FindMember(name);
      return member != line.MemberEnd() && member->value.IsNumber() ? member->value.GetDouble() : -1;
    };
    const double epoch = number("epoch"), rate = number("samples_per_second"), wait = number("data_wait");
    if (!(epoch >= 1 && epoch <= 1e9 && rate >= 0 && wait >= 0)) continue;
    // The last line of an epoch describes the whole epoch and replaces the earlier ones.
    const int index = static_cast<int>(epoch) - 1;
    by_epoch[index] = {index, rate, std::min(wait, 1.0)};
  }
  std::vector<EpochSpeed> speeds;
  speeds.reserve(by_epoch.size());
  for (const auto& [epoch, speed] : by_epoch) speeds.push_back(speed);
  return speeds;
}

std::vector<EpochSpeed> read_epoch_speeds(const fs::path& run_folder) {
  const fs::path path = run_folder / "metrics.jsonl";
  return fs::exists(path) ? epoch_speeds(read_file(path)) : std::vector<EpochSpeed>{};
}

std::vector<Panel> history_panels(const std::vector<EpochRecord>& history, const std::vector<EpochSpeed>& speeds) {
  Series loss{"loss", {}, {}}, rate{"learning rate", {}, {}};
  for (const EpochRecord& r : history) {
    loss.x.push_back(r.epoch + 1), loss.y.push_back(r.loss);
    rate.x.push_back(r.epoch + 1), rate.y.push_back(r.lr);
  }
  const Panel over_epochs{.title = "", .x_label = "epoch", .y_label = "", .series = {}, .log_y = true, .whole_x = true};
  Panel losses = over_epochs, rates = over_epochs;
  losses.title = "Training loss";
  losses.series = {loss};
  losses.empty = "no epoch is finished";
  rates.title = "Learning rate";
  rates.series = {rate};
  rates.empty = losses.empty;
  return {losses, validation_panel(history), rates, speed_panel(speeds)};
}

void plot_history(const fs::path& path, const std::vector<EpochRecord>& history,
                  const std::vector<EpochSpeed>& speeds) {
  write_image(path, paint(draw_plot(history_panels(history, speeds), 1400, 920, 9)));
}

}  // namespace hr
