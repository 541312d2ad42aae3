#include "tools/programs/history.h"

#include "core/error.h"
#include "core/io/json.h"
#include "tools/plot/plot.h"

namespace hr {

std::string results_line(const EpochRecord& r) {
  std::string line = fmt::format("epoch:{} ", r.epoch);
  for (const double s : r.stats) line += fmt::format("{:.4f}  ", s);
  for (int i = 0; r.stats.empty() && i < (r.pckh ? 9 : 10); ++i) line += "nan  ";
  return line + fmt::format("{:.4f}  {:.6f}", r.loss, r.lr);
}

std::string history_to_json(const std::vector<EpochRecord>& history) {
  std::string json = "[";
  for (const EpochRecord& r : history) {
    json += fmt::format("{}{{\"epoch\":{},\"loss\":{},\"lr\":{}", json.size() > 1 ? "," : "", r.epoch, r.loss, r.lr);
    if (r.pckh) json += ",\"measure\":\"PCKh\"";
    if (!r.stats.empty()) json += fmt::format(",\"stats\":[{}]", fmt::join(r.stats, ","));
    json += '}';
  }
  return json + "]";
}

std::vector<EpochRecord> history_from_json(std::string_view text, std::string_view where) {
  const rapidjson::Document document = parse_json(text, where);
  std::vector<EpochRecord> history;
  check(document.IsArray(), "{}: the training history is not a list", where);
  for (const Json& item : document.GetArray()) {
    check(item.IsObject() && item.HasMember("epoch") && item["epoch"].IsInt() && item.HasMember("loss") &&
              item["loss"].IsNumber() && item.HasMember("lr") && item["lr"].IsNumber(),
          "{}: entry {} of the training history needs epoch, loss and lr", where, history.size());
    EpochRecord& r = history.emplace_back();
    r.epoch = item["epoch"].GetInt();
    r.loss = item["loss"].GetDouble();
    r.lr = item["lr"].GetDouble();
    r.pckh = item.HasMember("measure");
    if (const auto stats = item.FindMember("stats"); stats != item.MemberEnd()) {
      check(stats->value.IsArray() && stats->value.Size() == (r.pckh ? 9 : 10),
            "{}: an epoch's stats must be {} numbers", where, r.pckh ? 9 : 10);
      for (const Json& number : stats->value.GetArray()) {
        check(number.IsNumber(), "{}: an epoch's stats must be {} numbers", where, r.pckh ? 9 : 10);
        r.stats.push_back(number.GetDouble());
      }
    }
  }
  return history;
}

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
